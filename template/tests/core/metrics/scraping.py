"""Reading what `/metrics` says."""

from collections.abc import Iterator

from httpx2 import AsyncClient
from prometheus_client.parser import text_string_to_metric_families


class Figures:
    """The figures of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = {each.name: each for each in text_string_to_metric_families(text)}

    def all(self, name: str, **labels: str) -> Iterator[float]:
        """Give the values of a series, of all that have these labels."""
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    yield sample.value

    def one(self, name: str, **labels: str) -> float:
        """Give the value of the only one that has these labels."""
        [value] = self.all(name, **labels)
        return value

    def sum(self, name: str, **labels: str) -> float:
        """Add up the values of all that have these labels; 0 when there is none."""
        return sum(self.all(name, **labels))


async def scrape(caller: AsyncClient) -> Figures:
    """Ask an application for its figures."""
    answer = await caller.get("/metrics")
    assert answer.status_code == 200, answer.text
    return Figures(answer.text)
