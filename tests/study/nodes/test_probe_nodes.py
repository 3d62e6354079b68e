"""Problems of nodes in one line."""

from study.nodes.probe_nodes import NodeProblem, describe_problems


def test_a_common_problem_appears_once():
    same = [NodeProblem(name, "is late", "wait") for name in "abcde"]
    assert describe_problems(same[:3]) == "nodes a, b and c: each is late; wait."
    assert describe_problems(same) == "nodes a, b and 3 others: each is late; wait."
    others = [NodeProblem("x", "has no disk", "buy one"), NodeProblem("y", "has no fan", "buy one")]
    assert describe_problems([*same[:2], *others]) == (
        "nodes a and b: each is late; wait. And 2 more: node x has no disk; buy one. node y has no fan; buy one."
    )
