'''How a domain is hosted: settings, lifecycle, health, telemetry, channels, persistence, and the adapters
that fill the ports of `interceptors` (who calls, may they, did the subject consent, how fast, recorded where).

A complete domain needs two modules that the composition root knows by convention: `settings.py` with a class
`Settings`, and `wiring.py` with a function `build`. Nothing connects, opens or spawns while it builds; that is what
the hooks are for.

```python
# services/garden/settings.py
from services.runtime.settings import ServiceSettings, service_config

class Settings(ServiceSettings):
    """Settings of the garden domain, read from POLYPHONY_GARDEN_*."""
    model_config = service_config("garden")
    port: int = 50060
    beds: int = 12


# services/garden/wiring.py
def build(settings: Settings) -> Service:
    keyring = Keyring.from_file(settings.kek_file)
    migrations = Path(__file__).parent / "migrations"
    database = Database(settings.database_url, domain="garden", keyring=keyring, migrations=migrations)
    member = Member(settings, database)                # identity, channels, feeds, audit, limits: the road's ports
    weather = WeatherServiceStub(
        member.channels.to(settings.weather_endpoint, "polyphony.weather.v1.WeatherService")
    )                                                  # carries deadline, trace, purpose, person; raises Fault
    service = member.service([(add_BedServiceServicer_to_server, BedServicer(database, weather))])
    service.on_start(seed_beds)                        # in order; the database is open; the listener opens last
    service.on_stop(flush_beds)                        # in reverse order, after the last call; the database is open
    service.background("forecast", forecast.run)       # a coroutine function; ends by cancellation only
    service.ready_when("weather", weather_is_known)    # a sync or async predicate, asked twice a second
    return service
```

The order of a stop: health says NOT_SERVING; `drain_seconds` pass so that the balancer notices; no new call is
accepted and the running ones end within `grace_seconds`; background tasks are cancelled; stop hooks run in reverse.

A job that works for a person outside any call says so around its calls to other services:
`with on_behalf_of(tenant, user, policy_pb2.PURPOSE_...): ...` (`channels`).

Auth and compliance serve feeds that they also follow: `member.authorities = replace(member.authorities,
authorization=lambda requests: servicer.SyncAuthorization(requests, None), keys=..., consents=None)` before
`member.service(...)`. The serving half is `Feed(source, board=SqlFeedBoard(database, "authorization"))`, kept going by
`service.background("...", feed.run)`.

Modules: `settings`, `tuning`, `member`, `hosting` (`Service`), `lifecycle` (running and draining), `health`,
`reflection`, `logs`, `telemetry`, `metrics`, `service_identity`, `channels`, `feeds`, `tokens` and `authentication`,
`authorization`, `consents`, `limits`; and, for data, `persistence`, `keyring`, `events`, `audit_*`,
`idempotency`.
'''
