// mailauth's body hash, fed as its DkimSigner feeds it: see libraries.py for the interface.
// HALLMARK_MAILAUTH names the folder whose node_modules has mailauth (tools/check installs it in the build folder).
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const installed = createRequire(path.join(path.resolve(process.env.HALLMARK_MAILAUTH), 'package.json'));
const { dkimBody } = installed('mailauth/lib/dkim/body');

const CHUNK = 64 * 1024; // what mailauth's writeToStream cuts a message into

function bodyHash(body) {
    const hasher = dkimBody('relaxed/relaxed', 'rsa-sha256', false);
    for (let at = 0; at < body.length; at += CHUNK) {
        hasher.update(body.subarray(at, at + CHUNK));
    }
    return hasher.digest('base64');
}

// CPU time of the process, with its compiler's and its garbage collector's threads.
function cpuMicroseconds() {
    const { user, system } = process.cpuUsage();
    return user + system;
}

// GB/s of CPU time.
function rate(body, octets, seconds, batch) {
    const start = cpuMicroseconds();
    let rounds = 0;
    let spent = 0;
    while ((spent = cpuMicroseconds() - start) < seconds * 1e6) {
        for (let i = 0; i < batch; i++) {
            bodyHash(body);
        }
        rounds += batch;
    }
    return (octets * rounds) / spent / 1e3;
}

const [file, ...numbers] = process.argv.slice(2);
const [seconds, octets, batch, repeats] = numbers.map(Number);
const body = fs.readFileSync(file);
rate(body, octets, seconds, batch); // Warms memory up and lets the compiler do its work.
const samples = Array.from({ length: repeats }, () => rate(body, octets, seconds, batch));
console.log(JSON.stringify({ hash: bodyHash(body), samples }));
