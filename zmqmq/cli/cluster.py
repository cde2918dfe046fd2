"""`zmqmq cluster status`, `zmqmq leader`, `zmqmq broker drain | remove`, `zmqmq partitions reassign`: a cluster and its brokers."""

from __future__ import annotations

from typing import Annotated

import typer

from zmqmq import Admin
from zmqmq.cli import exits
from zmqmq.cli.cluster_health import concern_of, concerns_of, verdict, worst_first
from zmqmq.cli.link import Link, command, leave
from zmqmq.cli.output import console, emit, plain, say, table
from zmqmq.core.cluster_commands import ClusterReport, MemberSummary, PlaceSummary

app = typer.Typer(help="Show how a cluster is.", no_args_is_help=True)
broker_app = typer.Typer(help="Run a broker (zmqmq broker --help), or drain and remove one of a cluster.", no_args_is_help=True)
partitions_app = typer.Typer(help="Move partitions from broker to broker.", no_args_is_help=True)

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="name of the topic")]
OptionalTopic = Annotated[str | None, typer.Argument(metavar="TOPIC", help="only this topic's partitions", show_default=False)]
BrokerId = Annotated[str, typer.Argument(metavar="BROKER", help="its broker_id")]
Undo = Annotated[bool, typer.Option("--undo", help="take it back")]


@command(app, "status")
def status(link: Link, topic: OptionalTopic = None, limit: Annotated[int, typer.Option(min=0, max=1_000_000, help="partitions to list")] = 100) -> None:
    """Shows brokers and partitions, what is wrong first. Exit code 0 if all is well, 1 if not."""
    with link.admin() as admin:
        demand_cluster(admin)
        report = admin.cluster(topic or "")
    concerns = concerns_of(report)
    if link.json:
        found = [{"level": concern.level.name.lower(), "what": concern.what, "text": concern.text} for concern in concerns]
        emit({"healthy": not concerns, "verdict": verdict(report, concerns), "concerns": found, **_fields(report)})
    else:
        _show(report, limit)
        console().print(verdict(report, concerns), style="red" if concerns else "green", markup=False)
    raise typer.Exit(exits.FAILED if concerns else exits.OK)


def leader(link: Link, topic: OptionalTopic = None) -> None:
    """Names the cluster leader or, with a topic, who leads its partitions. Exit code 1 if there is none."""
    with link.admin() as admin:
        if topic is not None:
            _leaders(link, topic, [(part.partition, part.leader, part.epoch, part.in_sync) for part in admin.topic(topic).partitions])
            return
        found = admin.leader()
    if found is None:
        leave(exits.FAILED, "there is no cluster leader now")
    emit(found) if link.json else say(f"{found.broker_id} at {found.endpoint}")


def _leaders(link: Link, topic: str, parts: list[tuple[int, str, int, list[str]]]) -> None:
    if link.json:
        emit([{"topic": topic, "partition": number, "leader": name, "epoch": epoch, "in_sync": in_sync} for number, name, epoch, in_sync in parts])
    else:
        table(["partition#", "leader", "epoch#", "in sync"], ([number, name or "-", epoch, " ".join(in_sync)] for number, name, epoch, in_sync in parts))
    if not all(name for _, name, _, _ in parts):
        raise typer.Exit(exits.FAILED)


def demand_cluster(admin: Admin) -> None:
    """Ends the command if the broker stands alone."""
    alone = next((broker for broker in admin.brokers() if broker.role == "standalone"), None)
    if alone is not None:
        leave(exits.REFUSED, f"{alone.broker_id} at {alone.endpoint} stands alone, without a cluster; zmqmq status says how it is")


# --- brokers -----------------------------------------------------------------------------------------------------------


@command(broker_app, "drain")
def drain(link: Link, broker: BrokerId, undo: Undo = False) -> None:
    """Lets a broker hand its leaderships over and take no new ones, e.g. before it is restarted; it goes on as a follower."""
    with link.admin() as admin:
        demand_cluster(admin)
        count = admin.drain_broker(broker, undo=undo)
    if link.json:
        emit({"broker": broker, "draining": not undo, "leads": count})
    else:
        say(f"{broker} may lead again" if undo else f"{broker} hands over {count} partitions and gets no new ones; zmqmq cluster status shows how far it is")


@command(broker_app, "remove")
def remove(link: Link, broker: BrokerId, undo: Undo = False) -> None:
    """Moves everything that a broker holds to others; when nothing is left it may be stopped for good."""
    with link.admin() as admin:
        demand_cluster(admin)
        count = admin.remove_broker(broker, undo=undo)
    if link.json:
        emit({"broker": broker, "removing": not undo, "replicas": count})
    else:
        say(f"{broker} stays" if undo else f"{count} replicas move away from {broker}; stop it when zmqmq cluster status shows none there")


@command(partitions_app, "reassign")
def reassign(
    link: Link,
    topic: Topic,
    partition: Annotated[int, typer.Argument(min=0, metavar="PARTITION", help="number of the partition")],
    replicas: Annotated[str, typer.Option("--replicas", metavar="BROKERS", help="who shall hold it, separated by commas; the first is preferred as leader")],
) -> None:
    """Moves one partition to other brokers, e.g. `zmqmq partitions reassign temp_1 0 --replicas broker-2,broker-3,broker-4`."""
    names = [part.strip() for part in replicas.split(",") if part.strip()]
    if not names:
        leave(exits.USAGE, "--replicas: names at least one broker")
    with link.admin() as admin:
        demand_cluster(admin)
        admin.reassign(topic, partition, names)
    goal = ", ".join(names)
    if link.json:
        emit({"topic": topic, "partition": partition, "replicas": names})
    else:
        say(f"{topic}/{partition} moves to {goal}; zmqmq cluster status {topic} shows how far it is")


# --- how it is shown -----------------------------------------------------------------------------------------------------


def _fields(report: ClusterReport) -> dict[str, object]:
    found = plain(report)
    assert isinstance(found, dict), "a report is a struct"
    return found


def _show(report: ClusterReport, limit: int) -> None:
    columns = ["broker", "address", "role", "state", "leads#", "replicas#", "in sync#", "software"]
    table(columns, (_member(member, report.leader) for member in report.members), title=f"cluster {report.cluster_id}, as {report.broker} sees it")
    columns = ["topic", "partition#", "leader", "epoch#", "in sync", "replicas", "committed#", "lag", "state"]
    places = worst_first(report.places)
    table(columns, (_place(place) for place in places[:limit]), title="\npartitions")
    if len(places) > limit:
        say(f"… and {len(places) - limit} more (--limit)")


def _member(member: MemberSummary, leader: str) -> list[object]:
    state = "removing" if member.removing else "draining" if member.draining else ""
    state = state if member.live else f"away {state}".strip()
    role = "cluster leader" if member.broker_id == leader else "member"
    return [member.broker_id, member.endpoint or "-", role, state or "live", member.leads, member.replicas, member.in_sync, member.software or "-"]


def _place(place: PlaceSummary) -> list[object]:
    behind = " ".join(f"{broker}:{records}" for broker, records in sorted(place.lag.items()) if records > 0)
    lag = behind or ("0" if place.committed >= 0 else "-")
    committed = place.committed if place.committed >= 0 else "-"
    return [place.topic, place.partition, place.leader or "-", place.epoch, " ".join(place.in_sync), " ".join(place.replicas), committed, lag, _state(place)]


def _state(place: PlaceSummary) -> str:
    moving = f"moving (+{','.join(place.adding) or '-'} -{','.join(place.removing) or '-'})" if place.adding or place.removing else ""
    concern = concern_of(place)
    return " ".join(part for part in (concern.level.name.lower().replace("_", "-") if concern else "", moving) if part) or "ok"
