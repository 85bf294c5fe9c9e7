"""Writes an object to S3 again and again, with one client for all of its life, as a service does.

    clients.py CLIENT ENDPOINT BUCKET KEY PAUSE

Prints a line for each object: `ok`, or `failed:` and what went wrong. Credentials and region are the environment's.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

BODY = b"a row"


def boto3(endpoint, bucket, key):
    import boto3
    from botocore.config import Config

    config = Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=endpoint, config=config)
    return lambda: client.put_object(Bucket=bucket, Key=key, Body=BODY)


def awscrt(endpoint, bucket, key):
    """aws-c-auth signs; the request goes out by urllib."""
    import urllib.request

    from awscrt import auth, http as crt, io

    bootstrap = io.ClientBootstrap.get_or_create_static_default()
    provider = auth.AwsCredentialsProvider.new_default_chain(bootstrap)
    region = os.environ["AWS_REGION"]

    def put():
        path = f"/{bucket}/{key}"
        headers = crt.HttpHeaders([("host", endpoint.split("//")[1])])
        request = crt.HttpRequest("PUT", path, headers)
        config = auth.AwsSigningConfig(
            algorithm=auth.AwsSigningAlgorithm.V4,
            signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=provider,
            region=region,
            service="s3",
            signed_body_value=auth.AwsSignedBodyValue.UNSIGNED_PAYLOAD,
            signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
            use_double_uri_encode=False,
        )
        signed = auth.aws_sign_request(request, config).result(60)
        out = urllib.request.Request(
            endpoint + path, data=BODY, method="PUT", headers=dict(signed.headers)
        )
        urllib.request.urlopen(out, timeout=60).read()

    return put


def pyarrow(endpoint, bucket, key):
    from pyarrow import fs

    scheme, host = endpoint.split("://")
    s3 = fs.S3FileSystem(
        endpoint_override=host,
        scheme=scheme,
        region=os.environ["AWS_REGION"],
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )

    def put():
        with s3.open_output_stream(f"{bucket}/{key}") as stream:
            stream.write(BODY)

    return put


def obstore(endpoint, bucket, key):
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        endpoint=endpoint,
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )
    return lambda: obstore.put(store, key, BODY)


def opendal(endpoint, bucket, key):
    import opendal

    operator = opendal.Operator(
        "s3", bucket=bucket, endpoint=endpoint, region=os.environ["AWS_REGION"]
    )
    return lambda: operator.write(key, BODY)


def minio_py(endpoint, bucket, key):
    import io

    from minio import Minio
    from minio.credentials import IamAwsProvider

    client = Minio(
        endpoint.split("//")[1],
        secure=False,
        region=os.environ["AWS_REGION"],
        credentials=IamAwsProvider(),
    )
    return lambda: client.put_object(bucket, key, io.BytesIO(BODY), len(BODY))


def rclone(endpoint, bucket, key):
    """One rclone that stays, and is told by its remote control what to copy."""
    directory = tempfile.mkdtemp(dir=os.environ["HOME"])
    path = os.path.join(directory, "rc")
    with open(os.path.join(directory, "object"), "wb") as file:
        file.write(BODY)
    remote = {
        "type": "s3",
        "provider": "Other",
        "env_auth": "true",
        "endpoint": endpoint,
        "region": os.environ["AWS_REGION"],
        "no_check_bucket": "true",
    }
    options = ",".join(f"{name}='{value}'" for name, value in remote.items() if name != "type")
    process = subprocess.Popen(
        [program("rclone"), "rcd", "--rc-no-auth", f"--rc-addr=unix://{path}", "--low-level-retries=1"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    while not os.path.exists(path):
        if process.poll() is not None:
            sys.exit("rclone has ended")
        time.sleep(0.1)

    def put():
        if process.poll() is not None:
            sys.exit("rclone has ended")
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(path)
        order = {
            "srcFs": directory,
            "srcRemote": "object",
            "dstFs": f":s3,{options}:{bucket}",
            "dstRemote": key,
            # An object that is as it should be is not written again.
            "_config": {"IgnoreTimes": True, "Retries": 1},
        }
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/operations/copyfile", json.dumps(order), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(json.loads(text)["error"])

    return put


def s5cmd(endpoint, bucket, key):
    """A program that is started for each object."""
    file = os.path.join(tempfile.mkdtemp(dir=os.environ["HOME"]), "object")
    with open(file, "wb") as object_:
        object_.write(BODY)
    command = [program("s5cmd"), "--endpoint-url", endpoint, "--retry-count", "1"]

    def put():
        done = subprocess.run(
            [*command, "cp", file, f"s3://{bucket}/{key}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace").strip())

    return put


def program(name):
    return os.path.join(os.path.dirname(sys.executable), name)


def main():
    client, endpoint, bucket, key, pause = sys.argv[1:]
    # What can't even be made ends, as a service would.
    put = globals()[client.replace("-", "_")](endpoint, bucket, key)
    while True:
        try:
            put()
            print("ok", flush=True)
        except Exception as error:
            line = " ".join(f"{type(error).__name__}: {error}".split())
            print("failed:", line[:300], flush=True)
        time.sleep(float(pause))


main()
