"""Values of every kind in JSON: each comes back as it went, or is refused."""

from .messages import invoke, stream
from .talks import talk

CASES = (
    *(
        talk(f"payload: text {text!r:.30}", invoke("1", "Echo", text))
        for text in (
            "",
            "äöü 日本 🎈",
            "\"quotes\" 'single' \\ /",
            "<a href='x'>&amp;+",
            "\0\x01\x1f\x7f",
            "a\u2028b\xa0c",
            "\b\f\n\r\t",
        )
    ),
    talk(
        "payload: escaped text",
        '{"type":1,"invocationId":"1","target":"Echo","arguments":["\\u00e9\\ud83c\\udf88\\/"]}\x1e',
    ),
    talk(
        "payload: half of a pair",
        '{"type":1,"invocationId":"1","target":"Echo","arguments":["a\\ud83c"]}\x1e',
    ),
    *(
        talk(f"payload: half of a pair {name}", record + "\x1e")
        for name, record in (
            (
                "in an argument too many",
                '{"type":1,"invocationId":"1","target":"Echo","arguments":["a","\\udf88"]}',
            ),
            (
                "for an unknown method",
                '{"type":1,"invocationId":"1","target":"Nope","arguments":["\\ud83c"]}',
            ),
            ("that nobody reads", '{"type":6,"unknown":"\\ud83c"}'),
            ("in a result that nobody awaits", '{"type":3,"invocationId":"no","result":"\\ud83c"}'),
            ("in an item that nobody awaits", '{"type":2,"invocationId":"no","item":"\\ud83c"}'),
            (
                "in an unknown field",
                '{"type":1,"invocationId":"1","target":"EchoPerson","arguments":[{"x":"\\ud83c"}]}',
            ),
            ("in an unknown name", '{"type":6,"\\ud83c":1}'),
        )
    ),
    *(
        talk(f"payload: bytes that are no text {name}", record + b"\x1e")
        for name, record in (
            ("that nobody reads", b'{"type":6,"unknown":"\xff"}'),
            ("in an unknown name", b'{"type":6,"\xff":1}'),
            ("behind the object", b'{"type":6}\xff'),
            (
                "in an argument too many",
                b'{"type":1,"invocationId":"1","target":"Echo","arguments":["a","\xff"]}',
            ),
        )
    ),
    *(
        talk(
            f"payload: float {number}",
            f'{{"type":1,"invocationId":"1","target":"EchoDouble","arguments":[{number}]}}\x1e',
        )
        for number in (
            "2",
            "2.0",
            "0.1",
            "-0.0",
            "1e3",
            "1e16",
            "123456789.125",
            "1.7976931348623157e308",
            "5e-324",
            "1e400",
        )
    ),
    *(
        talk(
            f"payload: long {number}",
            f'{{"type":1,"invocationId":"1","target":"EchoLong","arguments":[{number}]}}\x1e',
        )
        for number in ("9223372036854775807", "-9223372036854775808", "9007199254740993", "1e3", "-0")
    ),
    *(
        talk(
            f"payload: decimal {number}",
            f'{{"type":1,"invocationId":"1","target":"EchoDecimal","arguments":[{number}]}}\x1e',
        )
        for number in ("0.1", "1.50", "79228162514264337593543950335", "-0.0000000000000000000000000001", "3")
    ),
    *(
        talk(f"payload: date {date}", invoke("1", "EchoDateTime", date))
        for date in (
            "2017-04-11T00:00:00Z",
            "2017-04-11T01:02:03.123Z",
            "2017-04-11T01:02:03.1234567Z",
            "2017-04-11T01:02:03",
            "2017-04-11T01:02:03.5",
            "2017-04-11T03:02:03+00:00",
            "2017-04-11",
            "0001-01-01T00:00:00",
            "9999-12-31T23:59:59.999",
        )
    ),
    talk("payload: a GUID in capitals", invoke("1", "EchoGuid", "0123ABCD-4567-89AB-CDEF-0123456789AB")),
    talk("payload: a GUID in braces", invoke("1", "EchoGuid", "{0123abcd-4567-89ab-cdef-0123456789ab}")),
    talk("payload: bytes", invoke("1", "EchoBytes", "AAH/")),
    talk("payload: no bytes", invoke("1", "EchoBytes", "")),
    talk("payload: null for bytes", invoke("1", "EchoBytes", None)),
    talk("payload: an enum", invoke("1", "EchoColor", 2)),
    talk("payload: an enum's value that it lacks", invoke("1", "EchoColor", 7)),
    talk("payload: a map", invoke("1", "EchoMap", {"B": 2, "a": 1, "é": -3, "": 0})),
    talk("payload: an empty map", invoke("1", "EchoMap", {})),
    talk("payload: nested lists", invoke("1", "EchoNested", [[1, 2], [], [3]])),
    talk("payload: booleans", invoke("1", "EchoBool", True), invoke("2", "EchoBool", False)),
    talk("payload: null", invoke("1", "EchoNullable", None)),
    talk("payload: an empty person", invoke("1", "EchoPerson", {})),
    talk(
        "payload: a whole person",
        invoke(
            "1",
            "EchoPerson",
            {
                "name": "Ann",
                "age": 42,
                "born": "1980-02-03T04:05:06Z",
                "id": "0123abcd-4567-89ab-cdef-0123456789ab",
                "tags": ["a", "b"],
                "favourite": 1,
                "avatar": "AQID",
                "balance": 12.5,
                "nickname": None,
                "parent": {"name": "Bea", "favourite": 2},
            },
        ),
    ),
    talk(
        "payload: names in another casing",
        invoke("1", "EchoPerson", {"NAME": "Ann", "Age": 4, "nickName": "x"}),
    ),
    talk("payload: fields unknown", invoke("1", "EchoPerson", {"name": "Ann", "colour": "red"})),
    talk(
        "payload: a field twice",
        '{"type":1,"invocationId":"1","target":"EchoPerson","arguments":[{"age":1,"age":2}]}\x1e',
    ),
    talk("payload: people", stream("1", "People", 2), until=("1",)),
)
