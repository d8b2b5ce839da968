"""Makes the golden tokens of Amazon's own signer for a fixed time and fixed credentials.

    pip install aws-msk-iam-sasl-signer-python==1.0.2
    python3 testdata/msk-iam/make.py
"""

import datetime
import os
import pathlib
import unittest.mock

import botocore.auth
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

NOW = datetime.datetime(2026, 11, 28, 7, 0, 0, tzinfo=datetime.timezone.utc)
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
SESSION = {"AWS_SESSION_TOKEN": "FwoGZXIvYXdzE//+session=="}


def token(variables):
    with (
        unittest.mock.patch.dict(os.environ, variables, clear=True),
        unittest.mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: NOW.replace(tzinfo=None)),
    ):
        return MSKAuthTokenProvider.generate_auth_token("eu-central-1")[0]


place = pathlib.Path(__file__).parent
(place / "long-term.txt").write_text(token(KEYS) + "\n")
(place / "session.txt").write_text(token(KEYS | SESSION) + "\n")
