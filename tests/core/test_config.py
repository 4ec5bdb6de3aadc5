from pathlib import Path

import pytest

from mercat.config import Config, is_secret, resolve_secret
from mercat.errors import ConfigError, MissingSecret, UnknownName

TEXT = """
[mercat]
plugins = ["customer-service"]
folder = "data"

[encoders.default]
use = "transformer"
model = "all-MiniLM-L6-v2"

[sinks.desk]
use = "helpdesk/django-helpdesk"
password = { env = "DESK_PASSWORD" }

[sources.mail]
use = "files/csv"
path = "mail.csv"
collection = "mail"
every_s = 60

[services.desk]
use = "customer-service"
review = ["compliance"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mercat.toml"
    path.write_text(TEXT)
    return path


def test_sections_and_the_keys_of_flow(file: Path) -> None:
    section = Config.read(file).section("sources", "mail")
    assert (section.use, dict(section.parameters)) == ("files/csv", {"path": "mail.csv"})
    assert dict(section.flow) == {"collection": "mail", "every_s": 60}
    assert section.path == "[sources.mail]"


def test_the_config_names_its_plugins(file: Path) -> None:
    assert {"customer-service", "helpdesk", "files", "compliance"} <= set(Config.read(file).plugins)


def test_the_workspace_lies_beside_the_config(file: Path) -> None:
    config = Config.read(file)
    assert config.workspace == file.parent / "data"
    assert config.store_url == f"sqlite:///{file.parent / 'data' / 'mercat.db'}"


def test_an_override_wins_and_shows_its_origin(file: Path) -> None:
    config = Config.read(file, overrides=["encoders.default.batch=64", "encoders.default.device=cpu", "a.b.use=x"])
    parameters = config.section("encoders", "default").parameters
    assert (parameters["batch"], parameters["device"]) == (64, "cpu")
    origins = {value.key: value.origin for value in config.values()}
    assert origins["encoders.default.batch"] == "--set"
    assert origins["encoders.default.model"] == "mercat.toml"


@pytest.mark.parametrize("text", ["nothing", "=1", "a..b=1", "mercat.plugins.x=1"])
def test_a_bad_override_is_refused(file: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        Config.read(file, overrides=[text])


def test_a_secret_is_never_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_PASSWORD", "hunter2")
    values = {value.key: value for value in Config.read(file).values()}
    assert values["sinks.desk.password"].value == "***"
    assert values["sinks.desk.password"].origin == "environment DESK_PASSWORD (set)"
    assert "hunter2" not in repr(list(values.values()))
    assert resolve_secret({"env": "DESK_PASSWORD"}, "x") == "hunter2"


def test_a_secret_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DESK_PASSWORD", raising=False)
    assert is_secret({"env": "DESK_PASSWORD"})
    with pytest.raises(MissingSecret, match=r"DESK_PASSWORD\. It is not set\. Try: export DESK_PASSWORD=…"):
        resolve_secret({"env": "DESK_PASSWORD"}, "[sinks.desk] password")


def test_a_missing_file_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The file is not there\. Try: mercat init"):
        Config.read(tmp_path / "mercat.toml")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a\n", "cannot be read as TOML"),
        ("x = 1", "outside every table"),
        ("[encoders]\ndefault = 3", "Its parts are tables"),
        ("[mercat]\nfolder = 5", r"\[mercat\] folder = 5. It is the path of a folder. Try: folder = "),
        ("[mercat]\nfolder = ''", "It is the path of a folder"),
        ("[mercat]\nplugins = 'files'", "It is a list of names"),
        ("[mercat]\nplugins = ['files', 3]", "It is a list of names"),
        ("[mercat]\nserve = 1", "It is a table"),
        ("[mercat]\nfoldr = 'x'", "Did you mean 'folder'"),
        ("[store]\nurl = 5", r"\[store\] url = 5. It is a text or a secret"),
        ("[store]\nurll = 'x'", "Did you mean 'url'"),
        ("[sources.a]\nuse = 'x'\nevery_s = 0", r"\[sources.a\] every_s = 0. It is a number of seconds above 0"),
        ("[sources.a]\nuse = 'x'\nevery_s = 'often'", "It is a number of seconds"),
        ("[sources.a]\nuse = 'x'\nevery_s = nan", "It is a number of seconds"),
        ("[sources.a]\nuse = 'x'\ncollection = 5", "It is the name of a collection"),
        ("[sources.a]\nuse = 'x'\ntransforms = 'redact'", "It is a list of names"),
        ("[services.a]\nuse = 'x'\nreview = 'me'", "It is a list of plugins"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "mercat.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=found):
        Config.read(path)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mercat.toml"
    path.write_bytes("[mercat]\nfolder = 'données'".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        Config.read(path)


def test_a_section_without_use_and_an_unknown_section(file: Path) -> None:
    config = Config.read(file, overrides=["encoders.other.model=x"])
    with pytest.raises(ConfigError, match="needs use"):
        config.section("encoders", "other")
    with pytest.raises(UnknownName, match="Did you mean 'default'"):
        config.section("encoders", "defalt")
