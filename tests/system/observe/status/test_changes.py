from system.observe.status.changes import Changes


def test_who_has_nothing_gets_all_and_who_has_all_gets_nothing():
    changes = Changes()
    changes.put("a", {"x": [1]})
    changes.put("b", 2)
    first = changes.since(None)
    assert (first["all"], first["changed"], first["gone"]) == (True, {"a": {"x": [1]}, "b": 2}, [])
    again = changes.since(first["mark"])
    assert (again["all"], again["changed"], again["gone"]) == (False, {}, [])
    assert again["mark"] == first["mark"]


def test_only_what_differs_is_a_change():
    changes = Changes()
    changes.put("a", [1])
    changes.put("b", [1])
    mark = changes.since(None)["mark"]
    changes.put("a", [1])
    changes.put("b", [2])
    assert changes.since(mark)["changed"] == {"b": [2]}


def test_what_is_dropped_is_told_once_and_may_come_again():
    changes = Changes()
    changes.put("a", 1)
    changes.put("b", 1)
    mark = changes.since(None)["mark"]
    changes.keep_only(["b"])
    news = changes.since(mark)
    assert (news["changed"], news["gone"]) == ({}, ["a"])
    assert changes.since(news["mark"])["gone"] == []
    changes.put("a", 1)
    again = changes.since(mark)
    assert (again["changed"], again["gone"]) == ({"a": 1}, [])


def test_a_mark_of_another_process_or_none_at_all_is_answered_with_everything():
    changes = Changes()
    changes.put("a", 1)
    theirs = Changes().since(None)["mark"]
    ahead = changes.since(None)["mark"].replace(".1", ".7")
    for mark in (None, "", "x", "1.2.3", "'; --", theirs, ahead):
        assert changes.since(mark)["changed"] == {"a": 1}
