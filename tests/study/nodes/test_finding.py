"""What is told of findings on nodes."""

from study.nodes.finding import Finding, tell_all


def test_what_nodes_have_in_common_is_told_once():
    same = [Finding(name, "is late", "wait") for name in "abcde"]
    assert tell_all(same[:3]) == "nodes a, b and c: each is late; wait."
    assert tell_all(same) == "nodes a, b and 3 others: each is late; wait."
    others = [Finding("x", "has no disk", "buy one"), Finding("y", "has no fan", "buy one")]
    assert tell_all([*same[:2], *others]) == (
        "nodes a and b: each is late; wait. And 2 more: node x has no disk; buy one. node y has no fan; buy one."
    )
