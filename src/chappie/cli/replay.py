"""`chappie replay`: a recorded run stepped through the core again, and the first divergence."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import chappie
from chappie.cli import settings
from chappie.cli.settings import ConfigProblem
from chappie.core.core import Core
from chappie.live.log import printable
from chappie.model.timestamps import ns_iso
from chappie.replay.recording import Recording, UnreadableError, find
from chappie.replay.replay import Diverged, Replay, Step
from chappie.replay.shown import SHOWN, Watcher
from chappie.venues.registry import VENUES

_DIFFERENT = 1
_WORDS_MAX = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument(
        "path",
        metavar="FILE_OR_FOLDER",
        nargs="?",
        help="the first segment of a run, a state folder, or its journal (default: state.dir)",
    )
    parser.add_argument(
        "--epoch", type=_positive, metavar="E", help="which run of a folder (default: the newest)"
    )
    parser.add_argument("--until", type=_positive, metavar="N", help="stop after N steps")
    parser.add_argument("--show", choices=sorted(SHOWN), help="print what happened to these")


def run(args: argparse.Namespace) -> int:
    """0 when the run replays identically, 1 when it diverges or cannot be read, 64 for what was
    asked.
    """
    try:
        chosen = settings.load(args.config, args.sets, os.environ)
        path = Path(args.path if args.path is not None else chosen.config.state.dir)
        if not path.exists():
            raise ConfigProblem(
                f"{printable(str(path))}: does not exist; accepted is a segment of a journal, "
                "a state folder or the journal in it"
            )
    except ConfigProblem as problem:
        print(problem, file=sys.stderr)
        return settings.EXIT_CODE
    try:
        recording = find(path, args.epoch)
        core = _core(recording)
    except UnreadableError as error:
        print(error, file=sys.stderr)
        return _DIFFERENT
    try:
        _introduce(recording)
        code = _replay(recording, core, args.show, args.until)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read along has seen enough; nothing was shown to be the same. What is still
        # buffered must not complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _DIFFERENT
    return code


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: accepted is a whole number above 0")
    return int(text)


def _core(recording: Recording) -> Core:
    config = recording.config
    dialect = VENUES[config.venue.kind].dialect(config.venue.symbol)
    return Core(config, dialect, recording.header.policy_period_s)


def _introduce(recording: Recording) -> None:
    header = recording.header
    count = len(recording.paths)
    print(
        f"run {header.epoch}: {count} {'segment' if count == 1 else 'segments'} from "
        f"{recording.paths[0]}, recorded by chappie {header.version}"
    )
    if header.version != chappie.__version__:
        print(f"replayed by chappie {chappie.__version__}: another version may decide otherwise")


def _replay(recording: Recording, core: Core, show: str | None, until: int | None) -> int:
    watch: Watcher = SHOWN[show](core) if show is not None else _nothing
    replay = Replay(core.step, lambda step: _tell(step, watch))
    try:
        difference = replay.follow(recording, until)
    except (UnreadableError, KeyboardInterrupt) as error:
        print(_agreement(replay))
        print(str(error) or "interrupted", file=sys.stderr)
        return _DIFFERENT
    if difference is not None:
        _explain(difference)
        return _DIFFERENT
    if replay.broke is not None:
        print(f"the run ended because the core broke, and so did the replay: {replay.broke}")
    if recording.torn is not None:
        torn = recording.torn
        print(
            f"{torn.path} ends within a record at byte {torn.offset} ({torn.detail}): torn off by "
            "a power loss, or still being written"
        )
    print(_agreement(replay))
    return 0


def _nothing(step: Step) -> Iterator[str]:
    return iter(())


def _tell(step: Step, watch: Watcher) -> None:
    for words in watch(step):
        print(f"{ns_iso(step.at.wall_ns)}  {step.number:>9,}  {printable(words)}")


def _agreement(replay: Replay) -> str:
    """What was shown to be the same, and no more than that."""
    steps = f"{replay.steps:,} steps, {replay.commands:,} commands"
    digest = f"digest {replay.digest.crc:08x}"
    if replay.steps and not replay.agreed:
        return (
            f"no contradiction: {steps}, {digest}, but no digest is recorded within them to compare"
        )
    rest = replay.steps - replay.agreed
    if rest:
        return f"identical: {steps}, {digest}; no digest was recorded of the last {rest:,} steps"
    return f"identical: {steps}, {digest}"


def _explain(difference: Diverged) -> None:
    after, step = difference.after, difference.step
    where = f"at step {step:,}" if step == after + 1 else f"in steps {after + 1:,} to {step:,}"
    print(f"diverged {where}, by {ns_iso(difference.at.wall_ns)}: {difference.detail}")
    if after:
        print(f"steps 1 to {after:,} are identical")
    first = difference.first
    if first is not None:
        words = printable(repr(first.commands[0]))
        if len(words) > _WORDS_MAX:
            words = words[:_WORDS_MAX] + "…"
        print(
            f"the first command of that range, at step {first.number:,}, "
            f"{ns_iso(first.at.wall_ns)}: {words}"
        )
