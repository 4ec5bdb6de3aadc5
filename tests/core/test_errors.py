from mercat.errors import MercatError, missing_extra, unknown_name


def test_an_error_is_one_line_in_three_parts() -> None:
    error = MercatError("No configuration at mercat.toml", "The file is not there", "mercat init")
    assert str(error) == "No configuration at mercat.toml. The file is not there. Try: mercat init"
    assert (error.asked, error.found, error.next) == (
        "No configuration at mercat.toml",
        "The file is not there",
        "mercat init",
    )


def test_unknown_name_gives_the_nearest_match_and_the_known_names() -> None:
    error = unknown_name("encoder", "minilm-l6", ["minilm", "hashing"])
    assert str(error) == (
        "No encoder named 'minilm-l6'. Did you mean 'minilm'? Known: hashing, minilm. Try: mercat plugins"
    )


def test_unknown_name_among_none() -> None:
    assert "Known: none" in str(unknown_name("artifact", "x", [], next="mercat train x"))


def test_missing_extra_says_what_to_install() -> None:
    assert str(missing_extra("The index 'faiss'", "faiss", "cpu")).endswith('Try: pip install "mercat[cpu]"')
