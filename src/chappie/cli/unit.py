"""`chappie unit`: a systemd unit for this configuration, its restart rules from the exit codes."""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from chappie.cli import settings
from chappie.cli.keys import SECRET_KEYS
from chappie.cli.settings import ConfigProblem, Settings
from chappie.model.config import Config
from chappie.model.faults import StopReason

# The trader's own watchdog and the guardian act long before systemd does: they stop with a name.
_WATCHDOG_PER_HEARTBEAT = 4
_WATCHDOG_LEAST_S = 20.0
# A flatten may take twenty-five seconds; the guardian needs a few for what is left then.
_STOPS_WITHIN_S = 40
_KEY_FILES = (("CHAPPIE_API_KEY_FILE", "api-key"), ("CHAPPIE_API_SECRET_FILE", "api-secret"))
# What no user needs rights for, and what only the system's own manager can give.
_HARDENED = (
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "UMask=0077",
)
_HARDENED_SYSTEM = (
    "CapabilityBoundingSet=",
    "PrivateDevices=yes",
    "PrivateTmp=yes",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "RestrictNamespaces=yes",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_config_arguments(parser)
    parser.add_argument(
        "--user", action="store_true", help="for systemctl --user instead of the system's manager"
    )
    parser.add_argument(
        "--trade", action="store_true", help="run the trader alone, without a guardian"
    )


def run(args: argparse.Namespace) -> int:
    """Print the unit; 64 for a configuration that cannot run."""
    try:
        chosen = settings.load_for_up(args.config, args.sets, os.environ)
        secret = [key for key in SECRET_KEYS if chosen.sources.get(key) == "--set"]
        if secret:
            raise ConfigProblem(f"--set: {secret[0]}: accepted is the file: a unit can be read")
    except ConfigProblem as problem:
        print(problem, file=sys.stderr)
        return settings.EXIT_CODE
    for key, source in chosen.sources.items():
        if source.startswith("environment"):
            print(f"{key} comes from the {source} and is not in the unit", file=sys.stderr)
    print(unit(chosen, args.sets, Path.cwd(), for_user=args.user, alone=args.trade), end="")
    return 0


def unit(
    chosen: Settings, sets: Sequence[str], folder: Path, *, for_user: bool, alone: bool
) -> str:
    """The text of the unit; ``folder`` is where it works, as everything relative is meant."""
    sections = (
        ("Unit", _unit(chosen.config)),
        ("Service", _service(chosen, sets, folder, for_user=for_user, alone=alone)),
        ("Install", [f"WantedBy={'default' if for_user else 'multi-user'}.target"]),
    )
    return "\n".join(f"[{name}]\n" + "".join(f"{line}\n" for line in of) for name, of in sections)


def prevented() -> list[int]:
    """The exit codes after which nobody but a person may start it again."""
    return [reason.value for reason in StopReason if reason.value and not reason.restarts]


def _unit(config: Config) -> list[str]:
    limits = config.supervisor
    return [
        f"Description=chappie {config.bot.id} on {config.venue.kind} {config.venue.symbol}",
        "Wants=network-online.target time-sync.target",
        "After=network-online.target time-sync.target",
        f"StartLimitIntervalSec={limits.window_s:g}",
        f"StartLimitBurst={limits.max_restarts}",
    ]


def _service(
    chosen: Settings, sets: Sequence[str], folder: Path, *, for_user: bool, alone: bool
) -> list[str]:
    config = chosen.config
    state_dir = (folder / config.state.dir).absolute()
    watchdog_s = max(
        _WATCHDOG_LEAST_S, _WATCHDOG_PER_HEARTBEAT * config.supervisor.heartbeat_timeout_s
    )
    lines = [
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={_command(chosen, sets, folder, alone=alone)}",
        f"WorkingDirectory={_path(folder.absolute())}",
    ]
    if not for_user:
        lines.append(f"User={_user()}")
    if not chosen.embeds_venue:
        lines += _credentials(for_user=for_user)
    lines += [
        "",
        "# Whatever the exit-code table calls restartable, and every death by a signal.",
        "Restart=on-failure",
        f"RestartSec={config.supervisor.backoff_initial_s:g}",
        f"RestartPreventExitStatus={' '.join(map(str, prevented()))}",
        f"WatchdogSec={watchdog_s:g}",
        f"TimeoutStopSec={_STOPS_WITHIN_S}",
        f"KillMode={'mixed' if chosen.embeds_venue else 'control-group'}",
        "# One process killed for memory is the guardian's matter, not the end of all.",
        "OOMPolicy=continue",
        "",
        *_HARDENED,
    ]
    if not for_user:
        lines += [*_HARDENED_SYSTEM, f"ReadWritePaths={_path(state_dir)}"]
    return lines


def _command(chosen: Settings, sets: Sequence[str], folder: Path, *, alone: bool) -> str:
    words = [sys.executable, "-m", "chappie", "trade" if alone else "up"]
    if chosen.file is not None:
        words += ["--config", str((folder / chosen.file).absolute())]
    for text in sets:
        words += ["--set", text]
    return " ".join(map(_word, words))


def _credentials(*, for_user: bool) -> list[str]:
    """By systemd's own credentials: files that only the service can read."""
    where = "%h/.config/chappie" if for_user else "/etc/chappie"
    lines = []
    for name, file in _KEY_FILES:
        source = os.environ.get(name)
        path = _path(Path(source).absolute()) if source else f"{where}/{file}"
        lines += [f"LoadCredential={file}:{path}", f"Environment={name}=%d/{file}"]
    return lines


def _user() -> str:
    """A bot needs no rights over the machine; root is asked to make a user for it."""
    return "chappie" if os.getuid() == 0 else getpass.getuser()


def _path(path: Path) -> str:
    return str(path).replace("%", "%%")


def _word(word: str) -> str:
    """One argument, as systemd splits and expands a command line."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = escaped and not any(c in escaped for c in " \t'\"\\;")
    return escaped if plain else f'"{escaped}"'
