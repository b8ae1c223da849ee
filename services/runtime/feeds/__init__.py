"""Versioned state pushed from its authority to every service that decides with it.

The authority (`Feed`) sends a full snapshot, then each change, then heartbeats; the follower (`FeedFollower`) applies
them and acknowledges. A follower *answers* only while its lease lasts; the authority knows an upper bound of each
lease. Hence the guarantee: **when `Feed.wait_acknowledged(v)` returns, no follower anywhere answers from a state older
than `v`**, whatever was lost or delayed on the way. What it rests on:

1. A lease begins when the follower *sent* an acknowledgement, and is granted only by a heartbeat that echoes that
   acknowledgement. The authority counts the lease from when it *received* the acknowledgement, which is later, and adds
   a margin for the drift between two monotonic clocks. So it never believes a lease over that is not.
2. On one stream everything arrives in order, and a heartbeat is sent only after every change known before it.
3. A follower whose connection is lost keeps its lease in the authority's books until it runs out.
4. A restarted authority waits one lease out before its first answer: it cannot know who followed its predecessor.
5. Where several workers share the authority's database, each grants leases only while it can read the database and
   write its own line on the `FeedBoard`; `wait_acknowledged` also waits for every other worker's line to reach the
   version, or for that worker to be silent longer than any lease it may have granted.

A change made at one worker reaches the followers of another within `poll_seconds` (0.2) plus a round trip.
"""

from services.runtime.feeds.authority import Feed, FeedBoard, FeedSource, NotAcknowledged
from services.runtime.feeds.board import SqlFeedBoard
from services.runtime.feeds.follower import FeedFollower
from services.runtime.feeds.messages import Ack, Beat, Connect, Delta, Snapshot, Update

__all__ = [
    "Ack",
    "Beat",
    "Connect",
    "Delta",
    "Feed",
    "FeedBoard",
    "FeedFollower",
    "FeedSource",
    "NotAcknowledged",
    "Snapshot",
    "SqlFeedBoard",
    "Update",
]
