"""Decimals as bytes: one form each, whatever the context of a thread says."""

import decimal
from decimal import Decimal

import pytest
from forms import form

from frys_cache.codec.values import decode_value, encode_value
from frys_cache.errors import IntegrityError


def test_decimal_context_does_not_change_what_is_stored():
    """Catches a Decimal written or read through the precision, traps or letters of a thread."""
    values = [Decimal("1E+50"), Decimal("NaN"), Decimal("1." + "3" * 60)]
    plain = [encode_value(value) for value in values]
    with decimal.localcontext(decimal.Context(prec=3, capitals=0, traps=[])):
        assert [encode_value(value) for value in values] == plain
        assert [form(decode_value(*pair)) for pair in plain] == list(map(form, values))
        with pytest.raises(IntegrityError, match="Decimal is out of range"):
            decode_value(3, b"\xc7\x16\x071E+9999999999999999999")


@pytest.mark.parametrize(
    "text",
    ["007", "-00", "1E+0", "1E-1", "1.0E+0", "NaN0", "sNaN007", "-NaN00", "0.0000001", "0.0000000",
     "10E+3", "0.1E+5", "00.5", "1E+05"],
)  # fmt: skip
@pytest.mark.parametrize("capitals", [0, 1])
def test_decimal_has_one_form(text, capitals):
    """Catches two bodies for one Decimal."""
    with decimal.localcontext(decimal.Context(capitals=capitals)):
        usual = str(Decimal(text)).replace("e", "E").encode()
        for form_, fine in ((usual, True), (text.encode(), False)):
            body = b"\x91\xc7" + bytes([len(form_), 7]) + form_
            fixed = {1: b"\xd4\x07", 2: b"\xd5\x07", 4: b"\xd6\x07", 8: b"\xd7\x07"}
            if len(form_) in fixed:
                body = b"\x91" + fixed[len(form_)] + form_
            if fine:
                assert encode_value(decode_value(3, body)) == (3, body)
            else:
                with pytest.raises(IntegrityError, match="not in its usual form"):
                    decode_value(3, body)
