"""Reads bodies of OTLP/HTTP in JSON with OpenTelemetry's own types, and prints the logs as JSON Lines. Usage: read_otlp.py FILE…"""

import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest


def value(any_value):
    kind = any_value.WhichOneof("value")
    found = getattr(any_value, kind)
    return [value(each) for each in found.values] if kind == "array_value" else found


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


for file in sys.argv[1:]:
    with open(file, encoding="utf-8") as body:
        # A field that the types do not know is an error.
        request = json_format.Parse(body.read(), ExportLogsServiceRequest())
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            for log in scope.log_records:
                print(
                    json.dumps(
                        {
                            "resource": attributes(resource.resource.attributes),
                            "event": log.event_name,
                            "severity": log.severity_text,
                            "time_us": log.time_unix_nano // 1000,
                            "body": value(log.body),
                            "attributes": attributes(log.attributes),
                        }
                    )
                )
