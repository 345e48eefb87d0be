"""The card tells what a model is."""

from export.release import Release


def test_the_card_tells_licence_recipe_and_digest(written: Release) -> None:
    card = (written.path / "README.md").read_text(encoding="utf-8")
    for fact in ("Apache-2.0", "Recipe: untrained", written.model.digest):
        assert fact in card
