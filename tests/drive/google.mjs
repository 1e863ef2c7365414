// Google's own client library speaks to a storage host: for emulator_google.bats.
//
//   node google.mjs put SESSION-URI FILE [CHUNK]      a resumable upload to a given session; prints what
//                                                     the host told of the object
//   node google.mjs get URL FILE [FIRST LAST]         a download; a whole one is compared with x-goog-hash
//
// PM_NPM is the folder that `make deps` has installed the library into.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { pipeline } from 'node:stream/promises';

const { IdempotencyStrategy, Storage } = createRequire(`${process.env.PM_NPM}/`)('@google-cloud/storage');
const [verb, url, path, ...rest] = process.argv.slice(2);

// No account is asked for where the host is not Google's.
const storage = new Storage({
    apiEndpoint: new URL(url).origin,
    projectId: 'test',
    retryOptions: {
        idempotencyStrategy: IdempotencyStrategy.RetryAlways,
        retryDelayMultiplier: 1,
        maxRetries: 5,
        totalTimeout: 20,
    },
});
const file = storage.bucket('sharemy3d').file('object');

if (verb === 'put') {
    const to = file.createWriteStream({
        uri: url,
        resumable: true,
        chunkSize: rest.length > 0 ? Number(rest[0]) : undefined,
        validation: 'crc32c',
    });
    await pipeline(fs.createReadStream(path), to);
    console.log(JSON.stringify(file.metadata));
} else {
    // The library asks Google's JSON API; here it is to take a signed URL, with no header of its own
    // that the signature would have to cover.
    const ask = storage.makeAuthenticatedRequest;
    storage.makeAuthenticatedRequest = (options, callback) => {
        delete options.qs;
        delete options.headers['x-goog-api-client'];
        return ask({ ...options, uri: url }, callback);
    };
    const range = rest.length > 0 ? { start: Number(rest[0]), end: Number(rest[1]) } : { validation: 'crc32c' };
    await pipeline(file.createReadStream(range), fs.createWriteStream(path));
}
