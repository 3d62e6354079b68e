"""The lines of a dry run of a controlled comparison."""

from pan_model.command_line import counted
from study.app.ablation.plan import AblationPlan, winner_id
from study.app.ablation.variations import describe_start


def describe_plan(plan: AblationPlan) -> list[str]:
    """Return the lines of a dry run: the rows with their trials, and the epochs at most."""
    metric, seeds, own = plan.best["metric"], ", ".join(map(str, plan.seeds)), winner_id(plan.best)
    missing = {spec.trial_id for _, spec in plan.missing}
    varied = dict.fromkeys(name for variation in plan.variations for name in variation.changes)
    winner = describe_start(plan.name, plan.best["config"], varied)
    lines = [
        f"{plan.dataset}: {plan.name.removesuffix(f' {own}')} {own}, {metric['name']} {metric['value']:.4f} on val in "
        f"epoch {metric['epoch']}",
        f"seeds {seeds}; the questions on val are those of the winner's trial, drawn from seed {plan.seeds[0]}",
    ]
    for row, specs in plan.trials.items():
        states = (
            "of the study"
            if spec.trial_id in plan.of_study
            else "to train"
            if spec.trial_id in missing
            else plan.records[spec.trial_id].status.value
            for spec in specs
        )
        trials = ", ".join(f"{spec.trial_id} {state}" for spec, state in zip(specs, states, strict=True))
        lines.append(f"  {row or winner}: {trials}")
    lines += plan.notes
    total = sum(map(len, plan.trials.values()))
    lines.append(
        f"{counted(total, 'trial')}, {len(missing)} to train, up to {counted(plan.max_epochs, 'epoch')} each, "
        f"{len(missing) * plan.max_epochs} at most"
    )
    return lines
