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


@schemathesis.hook
def before_call(context, case, kwargs):
    """A second owner could be the one by whom the first, whose session all of this is done in, is
    removed. The last one can't be."""
    body = case.body
    if case.path == "/api/v1/users/{id}" and isinstance(body, dict) and body.get("role") == "OWNER":
        case.body = {**body, "role": "ADMIN"}
