"""How good a run's flats are: the checks of each fibre, and every order."""

from __future__ import annotations

from flatcore.report.record import Record, fibers_of, known, list_of, median, table_of
from flatcore.report.tables import NONE, Cell, Column, Table, number, text, verdict, without_empty
from flatcore.spectra import Rung

ORDER_COLUMNS = (
    Column("order", "shows it in the order browser", numeric=True),
    Column("verdict"),
    Column("S/N", "mean of the middle 100 columns", numeric=True),
    Column("rms", "of the flat over the fitted columns", numeric=True),
    Column("blaze", "how it is described, from full to none"),
    Column("χ²", "reduced, of the spectrum about the blaze, from photon and read noise", numeric=True),
    Column("resid. [%]", "rms of the spectrum about the blaze, over the blaze's maximum", numeric=True),
    Column("usable [%]", "columns that have a flat", numeric=True),
    Column("S/N ratio", "from pixel to pixel, over that of the photons alone", numeric=True),
    Column("fringes [%]", "strongest wave of the flat", numeric=True),
    Column("flat changed [%]", "scatter of the ratio to the previous night's flat", numeric=True),
    Column("blaze changed [%]", "shape of the blaze since the previous night", numeric=True),
    Column("words"),
)
TONES = {"pass": "good", "fail": "bad", "skipped": ""}
SIGNS = {"pass": "✓ pass", "fail": "✗ fail"}


def fibers_table(image: Record) -> Table:
    """Each fibre in a line."""
    rows = []
    for name, fiber in fibers_of(image):
        orders = list_of(fiber, "orders")
        rms = known(orders, "rms")
        rows.append((
            text(name),
            verdict(fiber["passed"]),
            number(len(orders), "d"),
            number(median(known(orders, "snr")), ".0f"),
            number(median(rms), ".4f"),
            number(max(rms, default=None), ".4f"),
            number(_percent(median(known(orders, "usable"))), ".1f"),
            _rungs(fiber),
            _previous(fiber),
        ))  # fmt: skip
    columns = (
        Column("fibre"),
        Column("verdict"),
        Column("orders", numeric=True),
        Column("S/N", "median of the orders", numeric=True),
        Column("rms", "of the flat, median of the orders", numeric=True),
        Column("largest rms", "of any order", numeric=True),
        Column("usable [%]", "columns that have a flat, median of the orders", numeric=True),
        Column("blazes", "how many orders are described how"),
        Column("compared with"),
    )
    return without_empty(Table("fibers", "Fibres", columns, tuple(rows)))


def checks_table(image: Record) -> Table:
    """Every check of every fibre; one that does not decide warns."""
    rows = []
    for name, fiber in fibers_of(image):
        for check in list_of(fiber, "checks"):
            decisive = bool(check.get("decisive", True))
            rows.append((
                text(name),
                text(check["name"]),
                verdict(check["passed"], decisive),
                number(check["value"]),
                text(check["limit"]),
                text("yes" if decisive else "no"),
                text(check.get("words")),
            ))  # fmt: skip
    columns = (
        Column("fibre"),
        Column("check"),
        Column("verdict"),
        Column("measured", "the worst order's", numeric=True),
        Column("asked"),
        Column("decides", "whether the fibre fails with it; one that does not decide warns"),
        Column("words"),
    )
    return without_empty(Table("checks", "Quality checks", columns, tuple(rows)))


def orders_table(name: str, fiber: Record) -> Table:
    """Every order of a fibre."""
    rows = tuple(_order_row(order) for order in list_of(fiber, "orders"))
    table = Table(f"orders-{name}", f"Fibre {name}, order by order", ORDER_COLUMNS, rows, orders_of=name)
    return without_empty(table)


def _order_row(order: Record) -> tuple[Cell, ...]:
    result = str(order["verdict"])
    return (
        number(order["order"], "d"),
        Cell(SIGNS.get(result, result), result, TONES.get(result, "")),
        number(order.get("snr"), ".0f"),
        number(order.get("rms"), ".4f"),
        _rung(str(order.get("rung", "")), str(order.get("loss", "")), bool(order.get("reasons"))),
        number(order.get("chi2"), ".2f"),
        number(_percent(order.get("residual_rms")), ".2f"),
        number(_percent(order.get("usable")), ".1f"),
        number(order.get("snr_ratio"), ".2f"),
        number(_percent(order.get("fringe_amplitude")), ".2f"),
        number(_percent(order.get("flat_change")), ".2f"),
        number(_percent(order.get("blaze_change")), ".2f"),
        text(order.get("words") or order.get("problem")),
    )


def _rung(name: str, loss: str, reasons: bool) -> Cell:
    """Say how a blaze is described; sorted from the best to none.

    That by the model of all orders stands out where the order does not bear one of its own, which has its reasons.
    """
    if not name:
        return Cell(NONE, "")
    rung = Rung.named(name)
    robust = loss == "soft_l1" and rung is not Rung.GLOBAL
    tone = "warn" if rung is Rung.GLOBAL and reasons else _tone(rung)
    return Cell(f"{name}, robust" if robust else name, int(rung), tone)


def _tone(rung: Rung) -> str:
    return "bad" if rung is Rung.NONE else "warn" if rung >= Rung.PREDICTED else ""


def _rungs(fiber: Record) -> Cell:
    names = [str(order["rung"]) for order in list_of(fiber, "orders") if order.get("rung")]
    counts = {rung: names.count(rung.words) for rung in Rung}
    worst = max((rung for rung, count in counts.items() if count), default=None)
    if worst is None:
        return Cell(NONE, "")
    told = ", ".join(f"{count} {rung.words}" for rung, count in counts.items() if count)
    return Cell(told, int(worst), _tone(worst))


def _previous(fiber: Record) -> Cell:
    previous = table_of(fiber, "previous")
    if not previous:
        return Cell(NONE, "")
    age = previous.get("age_days")
    return Cell(f"{previous['name']}, {age:.1f} d before" if age is not None else str(previous["name"]))


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
