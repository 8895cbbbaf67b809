"""Sessions: what a connection sends, and that no connection knows of another."""

from __future__ import annotations

from collections.abc import Sequence

from candleactors.testing.conformance.rule import broken, require, shown
from candleactors.testing.conformance.subject import RECEIVED_MS, Subject, batches
from candleactors.testing.conformance.told import told
from candleactors.venues.base import Decoded, Keepalive, Session
from candleactors.venues.strict_json import strict_json


class SessionsConformance(Subject):
    """Tests of what a `Session` sends, and of its life."""

    def test_requests_are_text_frames(self) -> None:
        codec = self.new_codec()
        rules = codec.rules
        names = list(self.known_names(codec).values())
        session = codec.session()
        for frame in session.opening():
            _check_text(frame, "opening")
        for number, some in enumerate(batches(names, rules.max_names_per_request), 1):
            for each in (some, some[:1]):
                given = tuple(each)
                frame = session.subscribe(number, each)
                require(tuple(each) == given, "subscribe changes the list of names it is given", Session.subscribe)
                _check_text(frame, "subscribe")
                leaving = session.unsubscribe(number, each)
                if leaving is not None:
                    _check_text(leaving, "unsubscribe")
                    require(leaving != frame, "unsubscribe sends what subscribe sends", Session.unsubscribe)

    def test_requests_depend_on_what_they_are_about(self) -> None:
        codec = self.new_codec()
        names = list(self.known_names(codec).values())
        require(
            codec.session().subscribe(1, names[:1]) == codec.session().subscribe(1, names[:1]),
            "two new sessions subscribe the same name in different ways",
            Session,
        )
        if len(names) > 1:
            require(
                codec.session().subscribe(1, names[:1]) != codec.session().subscribe(1, names[1:2]),
                f"{names[0]} and {names[1]} are subscribed by the same frame",
                Session.subscribe,
            )

    def test_the_list_is_asked_for_exactly_where_the_venue_lists(self) -> None:
        codec = self.new_codec()
        frame = codec.session().list_subscriptions(1)
        lists = codec.rules.lists_subscriptions
        require(
            (frame is not None) == lists,
            f"lists_subscriptions is {lists} and list_subscriptions returns {shown(frame)}",
            Session.list_subscriptions,
        )
        if frame is not None:
            _check_text(frame, "list_subscriptions")

    def test_the_keepalive_has_something_to_say(self) -> None:
        codec = self.new_codec()
        keepalive, frame = codec.rules.keepalive, codec.session().ping()
        if frame is not None:
            _check_text(frame, "ping")
        if keepalive is not None:
            require(frame is not None, "rules.keepalive asks for messages and ping() returns None", Keepalive)

    def test_sessions_know_nothing_of_each_other(self) -> None:
        codec = self.new_codec()
        watched = self.watched(codec)
        for sample in self.samples:
            frames = list(sample.frames)
            unheard = told(codec.session().decode(frames, watched, RECEIVED_MS), watched)
            first, second = self.connected(codec), self.connected(codec)
            heard = [
                (told(first.decode([frame], watched, RECEIVED_MS), watched),
                 told(second.decode([frame], watched, RECEIVED_MS), watched))
                for frame in frames
            ]  # fmt: skip
            for frame, (one, other) in zip(frames, heard, strict=True):
                if one != other:
                    broken(
                        f"two connections hear {shown(frame)}, and the second makes of it"
                        f"\n  {shown(other)}\nwhile the first made of it\n  {shown(one)}",
                        Session,
                    )
            again = told(codec.session().decode(frames, watched, RECEIVED_MS), watched)
            if again != unheard:
                broken(
                    f"a new connection makes of {shown(frames)}\n  {shown(again)}\nbut before others had lived,"
                    f" one made of it\n  {shown(unheard)}",
                    Session,
                )

    def test_a_session_survives_its_requests(self) -> None:
        """Subscribing again, unsubscribing and hearing frames in between makes nothing raise."""
        codec = self.new_codec()
        watched = self.watched(codec)
        session = self.connected(codec)
        for turn in range(3):
            for number, names in enumerate(batches(list(watched), codec.rules.max_names_per_request), 1):
                self._say(session, 10 * turn + number, names)
            decoded = session.decode(self.pool(), watched, RECEIVED_MS)
            require(isinstance(decoded, Decoded), "decode returns no Decoded", Session.decode)

    def _say(self, session: Session, number: int, names: Sequence[str]) -> None:
        for ask in (session.unsubscribe, session.subscribe):
            try:
                ask(number, names)
            except Exception as error:
                broken(f"{type(error).__name__} from a request for {names}: {error}", Session)


def _check_text(frame: object, method: str) -> None:
    stated = getattr(Session, method)
    if not isinstance(frame, bytes) or not frame:
        broken(f"{method} returns {shown(frame)}", stated)
    try:
        text = frame.decode("utf-8")
        if text[0] in "[{":
            strict_json(frame)
    except ValueError as error:
        broken(f"{method} returns what is no UTF-8 text, or begins like JSON and is none ({error}): {frame!r}", stated)
