"""What a store's answer becomes: the missing permission by its name, or a fault of the key."""

import json

import pytest
from botocore.exceptions import ClientError

from sluice.access.bucket_errors import BucketAccessError, BucketUnavailable, explained

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def message_of(code, message, request="write", expected=BucketAccessError):
    error = ClientError({"Error": {"Code": code, "Message": message}}, "CreateMultipartUpload")
    with pytest.raises(expected) as caught, explained(request, "bucket", "out/"):
        raise error
    return str(caught.value)


def test_a_denial_names_the_action_of_the_request():
    text = message_of("AccessDenied", "Access Denied")
    assert "the missing permission is s3:PutObject on arn:aws:s3:::bucket/out/*" in text
    assert "the bucket's policy" in text
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket/out/*"}
    assert json.dumps(statement) in text


def test_a_denial_that_names_what_was_missed_is_believed():
    text = message_of(
        "AccessDenied",
        f"User: arn:aws:iam::1:user/x is not authorized to perform: kms:GenerateDataKey on resource: {KEY}"
        " because no identity-based policy allows the kms:GenerateDataKey action",
    )
    assert f"the missing permission is kms:GenerateDataKey on {KEY}." in text
    assert "the key's policy" in text


@pytest.mark.parametrize("code", ["KMS.DisabledException", "KMS.NotFoundException"])
def test_a_key_that_cannot_be_used_is_no_missing_permission(code):
    text = message_of(code, "it is pending deletion")
    assert "the KMS key cannot be used" in text
    assert "it is pending deletion" in text


def test_throttling_that_the_client_could_not_cure_is_to_be_retried():
    text = message_of("SlowDown", "Please reduce your request rate.", expected=BucketUnavailable)
    assert "The task is retried" in text
