from pydantic import BaseModel

from system.foundation.keys import default_kind
from system.foundation.keys import is_present_by_default
from system.foundation.keys import keys
from system.foundation.keys import kinds
from system.foundation.keys import locate
from system.foundation.keys import record_at
from system.foundation.settings.flow import Flow


def test_keys_of_every_kind_are_listed_in_order(schema: type[BaseModel]) -> None:
    names = [each.name for each in keys(schema)]
    assert names[:4] == ["name", "flag", "stage", "weights"]
    assert [name for name in names if name.startswith("optimiser.")] == [
        "optimiser.kind",
        "optimiser.rate",
        "optimiser.beta",
        "optimiser.kind",
        "optimiser.rate",
        "optimiser.momentum",
    ]
    assert "extra.distance.weight" in names


def test_types_are_said_in_words(schema: type[BaseModel]) -> None:
    words = {each.name: each.expects for each in keys(schema)}
    assert words["name"] == "text matching ^[a-z0-9]+$"
    assert words["flag"] == "true | false"
    assert words["stage"] == "0 | 1 | 2"
    assert words["weights"] == "mapping of text to number"
    assert words["size.width"] == "whole number > 0 and <= 4096"
    assert words["size.depths"] == "list of whole number > 0"
    assert words["size.pair"] == "list of (whole number, number)"
    assert words["size.limit"] == "whole number >= 1 | null"
    assert words["size.distance.kind"] == "l1 | l2"
    assert {each.name: each.meaning for each in keys(schema)}["size.width"] == "channels"


def test_kinds_and_their_defaults(schema: type[BaseModel]) -> None:
    fields = schema.model_fields
    assert list(kinds(fields["optimiser"])) == ["adam", "muon"]
    assert list(kinds(fields["size"])) == [""]
    assert kinds(fields["name"]) == {}
    assert kinds(None) == {}
    assert default_kind(fields["optimiser"]) == "adam"
    assert default_kind(fields["source"]) is None
    assert default_kind(fields["size"]) is None
    assert default_kind(kinds(fields["size"])[""].model_fields["distance"]) == "l1"


def test_a_kind_alone_gives_its_default(schema: type[BaseModel]) -> None:
    class Holder(BaseModel):
        distance: kinds(schema.model_fields["size"])[""].model_fields["distance"].annotation  # type: ignore[valid-type]

    assert default_kind(Holder.model_fields["distance"]) == "l1"


def test_the_record_of_a_kind(schema: type[BaseModel]) -> None:
    optimiser = schema.model_fields["optimiser"]
    assert record_at(optimiser, "muon") is kinds(optimiser)["muon"]
    assert record_at(optimiser, "sgd") is None
    assert record_at(optimiser, 3) is None
    assert (
        record_at(schema.model_fields["size"], "anything") is kinds(schema.model_fields["size"])[""]
    )


def test_what_is_there_without_being_mentioned(schema: type[BaseModel]) -> None:
    present = {
        name: is_present_by_default(schema.model_fields[name])
        for name in ("size", "optimiser", "source", "extra")
    }
    assert present == {"size": True, "optimiser": True, "source": False, "extra": False}


def test_locations_lose_their_kinds(schema: type[BaseModel]) -> None:
    path, field = locate(schema, ("optimiser", "muon", "momentum"))
    assert path == ("optimiser", "momentum")
    assert field is not None
    assert field.description == "decay of the momentum"
    assert locate(schema, ("size", "depths", 1))[0] == ("size", "depths", 1)
    assert locate(Flow, ("checkpoint_activations", "bool")) == locate(
        Flow, ("checkpoint_activations",)
    )
    assert locate(Flow, ("checkpoint_activations", "tuple[...]", 1))[0] == (
        "checkpoint_activations", 1,
    )  # fmt: skip
    assert locate(schema, ("no", "such"))[0] == ("no", "such")
    assert locate(schema, ("no", "such"))[1] is None
