"""Where the origin is stricter than JSON Schema can say."""

import schemathesis


def whole(value):
    """To JSON Schema 5.0 is an integer. To the origin it is none: whoever counts in fractions
    is mistaken, and is told so. Numbers have at most 64 bits."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    # No number of Rust's or Postgres' holds more than 64 bits.
    if isinstance(value, int) and abs(value) >= 2**63:
        return value % 2**53
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return value


@schemathesis.hook
def map_body(context, body):
    return whole(body)
