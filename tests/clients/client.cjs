// The AWS SDK for JavaScript: as clients.py, whose arguments and lines it has.
//
//     client.cjs ENDPOINT BUCKET KEY PAUSE
const { S3Client, PutObjectCommand } = require("@aws-sdk/client-s3");

const [endpoint, bucket, key, pause] = process.argv.slice(2);
const client = new S3Client({ endpoint, forcePathStyle: true, maxAttempts: 1 });

async function main() {
  for (;;) {
    try {
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: "a row" }));
      console.log("ok");
    } catch (error) {
      console.log(`failed: ${error.name}: ${error.message}`.replace(/\s+/g, " ").slice(0, 300));
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * pause));
  }
}

main();
