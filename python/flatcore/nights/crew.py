"""Who does the work: this process, or workers of a cluster. Results stay where they are made until they are fetched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

# A result that is or will be somewhere.
Handle = Any


class LostError(Exception):
    """A worker was lost with what it did, as often as it was tried."""


class Crew(ABC):
    """Runs functions.

    Attributes
    ----------
    size
        Number of nights that can be worked on at once.
    """

    size: int

    @abstractmethod
    def submit(self, function: Callable[..., Any], *arguments: Any, urgent: bool = False) -> Handle:
        """Have a function called; arguments may be handles, and are the results then.

        Parameters
        ----------
        urgent
            Before those that are not.
        """

    @abstractmethod
    def wait(self, handles: list[Handle]) -> list[Handle]:
        """Wait until at least one is done, and give those that are; at times none, so that the caller can look up."""

    @abstractmethod
    def fetch(self, handle: Handle) -> Any:
        """Give the result of a handle that is done.

        Raises
        ------
        LostError
            The workers that were at it are gone.
        """


class Alone(Crew):
    """One call after the other, in this process."""

    size = 1

    def submit(self, function: Callable[..., Any], *arguments: Any, urgent: bool = False) -> Handle:
        """Call it at once."""
        given = [argument.value if isinstance(argument, _Done) else argument for argument in arguments]
        return _Done(function(*given))

    def wait(self, handles: list[Handle]) -> list[Handle]:
        """Give them all: they are done."""
        return handles

    def fetch(self, handle: Handle) -> Any:
        """Give the result."""
        return handle.value


class _Done:
    """A result that is here."""

    def __init__(self, value: Any) -> None:
        self.value = value
