"""`mercat keys`: who may use the HTTP interface and the pages."""

from __future__ import annotations

from typing import Annotated

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, command_app, emit, opened, say, to_json

app = command_app(help="Make, list and revoke API keys and page accounts.")
SCOPES = ("ask", "operate", "admin")
ScopeOption = Annotated[list[str] | None, typer.Option("--scope", "-s", help="ask, operate or admin; may be repeated.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: ScopeOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Make an API key; it is shown once."""
    with opened(config) as workspace:
        key, row = workspace.store.accounts.create_key(name, _scopes(scope))
    if json:
        typer.echo(to_json({"key": key, "name": name, "scopes": row.scopes}))
    else:
        say(f"The key, shown only now: [bold green]{key}[/bold green]  scopes: {', '.join(row.scopes)}")


@app.command("list")
def list_(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """List keys by their prefix, and people who may sign in."""
    with opened(config) as workspace:
        accounts = workspace.store.accounts
        if json:
            emit({"keys": accounts.keys(), "people": [_person(user) for user in accounts.users()]}, as_json=True)
            return
        emit(accounts.keys(), as_json=False, title="API keys")
        emit([_person(user) for user in accounts.users()], as_json=False, title="People")


@app.command()
def revoke(
    prefix: Annotated[str, typer.Argument(help="The prefix of the key, as `keys list` shows it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Revoke an API key at once."""
    with opened(config) as workspace:
        workspace.store.accounts.revoke_key(prefix)
    if json:
        emit({"prefix": prefix, "revoked": True}, as_json=True)
    else:
        say(f"Revoked {prefix}.")


@app.command()
def person(
    name: Annotated[str, typer.Argument(help="The name to sign in with.")],
    scope: ScopeOption = None,
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, envvar="MERCAT_PASSWORD")
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Let a person sign in to the pages, or change the password."""
    from mercat.errors import AccessError
    from mercat.web.passwords import hash_password

    if len(password) < 12:
        raise AccessError("A password has at least 12 characters", f"This one has {len(password)}", "a longer one")
    with opened(config) as workspace:
        user = workspace.store.accounts.set_user(name, hash_password(password), _scopes(scope))
    if json:
        emit(_person(user), as_json=True)
    else:
        say(f"{user.name} may sign in with the scopes {', '.join(user.scopes)}.")


def _scopes(scopes: list[str] | None) -> list[str]:
    chosen = scopes or ["ask"]
    for scope in chosen:
        if scope not in SCOPES:
            raise typer.BadParameter(f"'{scope}' is not one of {', '.join(SCOPES)}", param_hint="--scope")
    return chosen


def _person(user: object) -> dict[str, object]:
    return {name: getattr(user, name) for name in ("name", "scopes", "disabled")}
