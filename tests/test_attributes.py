import pytest
import torch

from a2i_lib.attributes import Attribute, AttributeSchema, UnknownAttribute

SCHEMA = AttributeSchema(
    [
        Attribute("Smiling"),
        Attribute("Male"),
        Attribute("Age", "score", low=-2.0, high=3.0, mean=0.5, deviation=2.0),
        Attribute("wing::blue", "one-hot", "wing"),
        Attribute("wing::red", "one-hot", "wing"),
    ]
)


def test_words_become_a_vector():
    y = SCHEMA.encode("smiling, not Male, Age=1.5, wing::red")
    assert y.tolist() == [1, -1, 1.5, -1, 1]


def test_a_one_hot_member_moves_its_group_and_the_rest_stays():
    base = SCHEMA.encode("Male, wing::blue")
    y = SCHEMA.encode({"wing::red": True, "Age": True}, base)
    assert y.tolist() == [-1, 1, 3, -1, 1]
    assert base.tolist() == [-1, 1, 0, 1, -1]


def test_describe_lists_what_is_on_strongest_first():
    assert SCHEMA.describe(SCHEMA.encode("Smiling, Age=2")) == ["Age", "Smiling"]


@pytest.mark.parametrize("name", ["Smilling", "smile"])
def test_an_unknown_name_is_answered_with_the_closest(name):
    with pytest.raises(UnknownAttribute, match="did you mean Smiling"):
        SCHEMA.encode(name)


def test_values_and_bases_are_checked():
    with pytest.raises(ValueError, match="'Age'.*not finite"):
        SCHEMA.encode({"Age": float("nan")})
    with pytest.raises(ValueError, match="not a number"):
        SCHEMA.encode("Age=old")
    with pytest.raises(ValueError, match="base has shape"):
        SCHEMA.encode("Male", torch.zeros(4))


def test_duplicates_and_bad_kinds_are_named():
    with pytest.raises(ValueError, match="duplicate attribute name 'Male'"):
        AttributeSchema([Attribute("Male"), Attribute("Male")])
    with pytest.raises(ValueError, match="kind 'maybe'"):
        Attribute("Male", "maybe")
    with pytest.raises(ValueError, match="needs a group"):
        Attribute("red", "one-hot")


def test_a_schema_survives_its_dictionary_and_its_fingerprint_depends_on_order():
    again = AttributeSchema.from_dict(SCHEMA.to_dict())
    assert again == SCHEMA and again.fingerprint == SCHEMA.fingerprint
    turned = AttributeSchema(list(SCHEMA)[::-1])
    assert turned.fingerprint != SCHEMA.fingerprint
    with pytest.raises(ValueError, match="attribute 0 is 'wing::red'"):
        SCHEMA.require_same(turned, "weights")
