"""Personal data is replaced on demand and counted always; what looks similar stays."""

from pathlib import Path

import pytest

from charlm.text.cleaning.left_over import PERSONAL
from charlm.text.cleaning.privacy import PRIVACY
from tests.text.cleaning.test_left_over import left_over
from tests.text.corpus import cleaned

FOUND = {
    "emails": [
        ("Write to ada@example.org.", "Write to [email]."),
        ("<a.b+c@mail.example.co.uk>, jürgen@müller.de", "<[email]>, [email]"),
        ("x_1%y@1-2.example.com!", "[email]!"),
    ],
    "phone_numbers": [
        ("Call +49 (0)30 1234-567 or +1-202-555-0143.", "Call [phone] or [phone]."),
        ("(202) 555-0143, 202.555.0143, 1-202-555-0143", "[phone], [phone], [phone]"),
        ("030/1234567; 020 7946 0018; 01 23 45 67 89", "[phone]; [phone]; [phone]"),
        ("tel:+442079460018\n+8613812345678", "tel:[phone]\n[phone]"),
    ],
    "ip_addresses": [
        ("from 192.168.0.1, port 80", "from [ip], port 80"),
        ("10.0.0.1:8080 and ::1 and 2001:db8::ff00:42:8329.", "[ip]:8080 and [ip] and [ip]."),
        ("::ffff:192.0.2.128", "[ip]"),
    ],
    "credit_cards": [
        ("4111 1111 1111 1111 is Visa's", "[card] is Visa's"),
        ("378282246310005, 5555-5555-5555-4444", "[card], [card]"),
    ],
    "iban": [
        ("DE89 3704 0044 0532 0130 00 AND more", "[iban] AND more"),
        ("GB82WEST12345698765432, FR1420041010050500013M02606", "[iban], [iban]"),
    ],
}

KEPT = {
    "emails": ["@ada says hi @ 5", "a@b", "user@localhost", "@media.print"],
    "phone_numbers": [
        *("in 1999-2004, pages 123-456", "01.02.2023 and 01-02-2023", "3.14159265358979"),
        *("1,234,567,890", "ISBN 978-3-16-148410-0", "2023-01-02 10:30:45", "id 1234567890123"),
    ],
    "ip_addresses": ["12:30:45", "version 1.2.3.4.5", "v1.2.3.4", "999.1.1.1", "Face::Add :: a"],
    "credit_cards": ["4111 1111 1111 1112", "1234567890123456", "tweet 1580661436132757506"],
    "iban": ["DE88 3704 0044 0532 0130 00", "AB12 IS NO ACCOUNT NUMBER", "XDE89370400440532013000"],
}


@pytest.mark.parametrize("rule", PRIVACY)
def test_personal_data_is_replaced_and_counted(tmp_path: Path, rule: str) -> None:
    texts, expected = zip(*FOUND[rule], strict=True)
    assert cleaned(texts, "none", [{"name": "mine", "builtin": rule}]) == [*expected]
    placeholders = sum(text.count("[") for text in expected)
    found = left_over(tmp_path, list(texts), "none")
    assert found[PERSONAL[rule]] == [placeholders, len(texts)]


@pytest.mark.parametrize("rule", PRIVACY)
def test_what_only_looks_like_it_stays(tmp_path: Path, rule: str) -> None:
    assert cleaned(KEPT[rule], "none", [{"name": "mine", "builtin": rule}]) == KEPT[rule]
    assert PERSONAL[rule] not in left_over(tmp_path, KEPT[rule], "none")


def test_all_of_them_at_once() -> None:
    rules = [{"name": name, "builtin": name} for name in PRIVACY]
    texts = [text for pairs in FOUND.values() for text, _ in pairs]
    expected = [text for pairs in FOUND.values() for _, text in pairs]
    assert cleaned(texts, "none", rules) == expected  # type: ignore[arg-type]
