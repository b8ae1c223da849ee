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
from polyphony.garden.v1.bed_service_pb2_grpc import add_BedServiceServicer_to_server
from services.garden.bed_servicer import BedServicer
from services.garden.settings import Settings
from services.runtime.hosting import Service
from services.runtime.road import Road

def build(settings: Settings) -> Service:
    database = Database(settings.database_url)         # opened by the start hook, not here
    road = Road.remote(settings, database)             # identity, policy and consent come from auth and compliance
    weather = WeatherStub(road.channels.to(settings.weather_endpoint))
    service = Service(
        name="garden",
        settings=settings,
        servicers=[(add_BedServiceServicer_to_server, BedServicer(database, weather))],
        interceptors=[road.interceptor()],             # the one chain of `interceptors.chain(...)`
    )
    service.on_start(database.open)                    # in order; the listener opens after the last one
    service.on_stop(database.close)                    # in reverse order of registration, after the last call ended
    road.attach(service)                               # followers, audit relay, readiness
    service.background("weather", forecast.run)        # a coroutine function; its death makes the service NOT_SERVING
    service.ready_when("database", database.reachable) # a sync or async predicate, asked twice a second
    return service
```

The order of a stop: health says NOT_SERVING; `drain_seconds` pass so that the balancer notices; no new call is
accepted and the running ones end within `grace_seconds`; background tasks are cancelled; stop hooks run in reverse.

Modules: `settings`, `tuning`, `hosting` (`Service`), `lifecycle` (running and draining), `health`, `reflection`,
`logs`, `telemetry`, `metrics`, `service_identity`, `channels`, `feeds`, `authentication`, `authorization`, `consents`,
`limits`; and, for data, `persistence`, `keyring`, `events`, `audit`, `ids`, `idempotency`.
'''
