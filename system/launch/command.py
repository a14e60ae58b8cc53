"""What a program in `jobs/` calls: arguments in, one clear message or one exit code out.

    if __name__ == "__main__":
        command(main, "configs/simflow_digits.yaml", about=__doc__)

`main` takes the resolved settings and returns an exit code. An error of this system is one message
on stderr and an exit code of its own (`ExitCode`); anything else keeps its traceback and leaves
with 1.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from typing import NoReturn
from typing import TypeVar

from pydantic import BaseModel

from system.foundation.config import Resolved
from system.foundation.config import describe
from system.foundation.config import resolve
from system.foundation.credentials import covered
from system.foundation.errors import ExitCode
from system.foundation.errors import RecipeError
from system.foundation.errors import TrainingSystemError
from system.foundation.overlay import is_bare
from system.foundation.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]

PLAN = "--plan"  # what a recipe needs, instead of running it

R = TypeVar("R", bound=BaseModel)

_heard: set[int] = set()  # signals that were to end this program


class Terminated(KeyboardInterrupt):
    """SIGTERM: how a scheduler takes a machine away. It unwinds a program as Ctrl-C does."""


def command(
    main: Callable[[Resolved[Any]], int | None],
    recipe: str | None,
    *,
    about: str,
    schema: type[BaseModel] = Recipe,
    arguments: Sequence[str] | None = None,
    bare: str | None = None,
) -> NoReturn:
    """Run `main` on the settings of this command line, and leave with its exit code.

    `recipe` is the embedded default, a path relative to the project's root; None where the schema's
    own defaults are complete. `bare` is the key that a first argument without one stands for.
    `--help` prints `about` and every key.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if bare is not None and given and is_bare(given[0]):
        given[0] = f"{bare}={given[0]}"
    with _terminate_like_interrupt():
        sys.exit(run(main, recipe, about=about, schema=schema, arguments=given))


def run(
    main: Callable[[Resolved[Any]], int | None],
    recipe: str | None,
    *,
    about: str,
    schema: type[BaseModel],
    arguments: Sequence[str],
) -> int:
    """The exit code of `main`: what it returns, the error's, or that of how it was ended."""
    path = None if recipe is None else ROOT / recipe

    def answer() -> int | None:
        settings = [each for each in arguments if each not in ("-h", "--help")]
        if len(settings) < len(arguments):
            print_page(help_page(path, about, schema, settings))
            return None
        if PLAN in arguments and schema is Recipe:
            from system.launch.plan.answer import print_plan  # needs what only training does

            return print_plan(path, _checked([each for each in arguments if each != PLAN]))
        return main(resolve(path, _checked(arguments), schema))

    return answered(answer)


def answered(answer: Callable[[], int | None]) -> int:
    """The exit code of a program's work: what it returns, or that of how it ended, having said
    so."""
    try:
        return answer() or ExitCode.DONE
    except TrainingSystemError as error:
        print(covered(f"{_title(error)}: {error}"), file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt as ended:
        # Ray makes a plain interrupt of whatever ends one of its waits.
        if isinstance(ended, Terminated) or signal.SIGTERM in _heard:
            print("terminated; what was started is stopped", file=sys.stderr, flush=True)
            return ExitCode.PREEMPTED
        print("interrupted; what was started is stopped", file=sys.stderr, flush=True)
        return ExitCode.INTERRUPTED
    except Exception:  # the rim: everything that is left gets its traceback and exit code 1
        print(covered(traceback.format_exc()), file=sys.stderr, end="", flush=True)
        return ExitCode.FAILED


def print_page(page: str) -> None:
    """Print to whoever reads, perhaps not to the end, as in `--help | head`."""
    try:
        print(page, flush=True)
    except BrokenPipeError:
        # Python flushes once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def help_page(
    path: Path | None, about: str, schema: type[BaseModel], arguments: Sequence[str]
) -> str:
    """What `--help` prints: the program's docstring, the grammar, and every key with its value
    under these arguments: a kind that they choose is explained."""
    program = Path(sys.argv[0]).name
    keys = describe(resolve(path, _checked(arguments), schema))
    usage = f"usage: python jobs/{program} [overlay.yaml ...] [key.path=value ...]"
    if schema is Recipe:
        usage += f" [{PLAN}]\n{PLAN}: say what it needs and costs, and run nothing (jobs/plan.py)"
    return f"{about.strip()}\n\n{usage}\n\n{keys}"


def _checked(arguments: Sequence[str]) -> Sequence[str]:
    flags = [each for each in arguments if each.startswith("-")]
    if flags:
        raise RecipeError(
            f"found {', '.join(flags)} among the arguments; settings are given as key.path=value "
            "and overlays as paths of YAML files. --help lists every key."
        )
    return arguments


def _title(error: TrainingSystemError) -> str:
    """`DataError` as `data error`."""
    name = type(error).__name__
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


@contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the program as Ctrl-C does, so that it ends what it started."""

    def interrupt(number: int, frame: object) -> None:
        _heard.add(number)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    _heard.clear()
    before = {s: signal.signal(s, interrupt) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
