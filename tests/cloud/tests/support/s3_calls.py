"""Makes calls to S3 with boto3 and prints one JSON object: for each call "ok" or the error's code and status.

usage: s3_calls.py ENDPOINT BUCKET CALL...   A call is a name below, with its key after a colon: put:a/b
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ENDPOINT, BUCKET, *CALLS = sys.argv[1:]
BODY = b"a row\n" * 1000

s3 = boto3.client(
    "s3",
    endpoint_url=ENDPOINT,
    config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=5),
)


def put(key):
    s3.put_object(Bucket=BUCKET, Key=key, Body=BODY)


def get(key):
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == BODY
    part = s3.get_object(Bucket=BUCKET, Key=key, Range="bytes=2-4")["Body"].read()
    assert part == BODY[2:5], part


def head(key):
    assert s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == len(BODY)


def list_v2(prefix):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix, PaginationConfig={"PageSize": 2})
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def list_v1(prefix):
    return [entry["Key"] for entry in s3.list_objects(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


def directories(prefix):
    answer = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix, Delimiter="/")
    return [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]


def delete(key):
    s3.delete_object(Bucket=BUCKET, Key=key)


def delete_all(prefix):
    keys = [{"Key": key} for key in list_v2(prefix)]
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
    return [entry["Key"] for entry in answer.get("Deleted", [])]


def delete_two(key):
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}, {"Key": key + "-2"}]})


def copy(key):
    s3.copy_object(Bucket=BUCKET, Key=key + "-copy", CopySource={"Bucket": BUCKET, "Key": key})


def multipart(key):
    size = 5 * 1024 * 1024
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    parts = []
    for number, letter in enumerate((b"a", b"b"), start=1):
        answer = s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=letter * size)
        parts.append({"ETag": answer["ETag"], "PartNumber": number})
    s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"a" * size + b"b" * size


def presigned(key):
    from urllib.request import urlopen

    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
    assert urlopen(url).read() == BODY


def location(_):
    return s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"]


def head_bucket(_):
    s3.head_bucket(Bucket=BUCKET)


def buckets(_):
    s3.list_buckets()


def put_elsewhere(key):
    s3.put_object(Bucket="another-bucket", Key=key, Body=BODY)


def create_bucket(_):
    s3.create_bucket(Bucket="another-bucket")


def result(call):
    name, _, key = call.partition(":")
    try:
        answer = globals()[name](key)
        return "ok" if answer is None else answer
    except ClientError as error:
        return [error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]]
    except BotoCoreError as error:
        return [type(error).__name__, None]


print(json.dumps({call: result(call) for call in CALLS}))
