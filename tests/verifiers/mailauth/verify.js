// mailauth, each signature by itself; tests/verifiers/common.py describes the interface.
// HALLMARK_MAILAUTH names the folder whose node_modules has mailauth (tools/check installs it in the build folder).
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');

const installed = createRequire(path.join(path.resolve(process.env.HALLMARK_MAILAUTH || __dirname), 'package.json'));
// Only the DKIM part: the package's main module also loads what fetches logos, which Debian 12's Node.js is too old for.
const { dkimVerify } = installed('mailauth/lib/dkim/verify');

function readKeys(file) {
    const keys = new Map();
    for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
        if (!line.trim()) {
            continue;
        }
        const [, name, type, value] = /^(\S+)\s+(\S+)\s+(.*)$/.exec(line);
        if (type !== 'TXT') {
            throw new Error(`${file}: not a TXT record: ${line}`);
        }
        keys.set(name.toLowerCase(), value);
    }
    return keys;
}

function verdict(status) {
    if (status.result === 'pass') {
        return { result: 'pass', detail: '' };
    }
    return { result: status.result ? 'fail' : 'error', detail: `${status.result}: ${status.comment || ''}` };
}

async function main() {
    if (process.argv.length !== 4) {
        throw new Error('usage: verify.js MESSAGE_DIR KEY_FILE');
    }
    const [, , folder, keyFile] = process.argv;
    const keys = readKeys(keyFile);
    const resolver = async (name, type) => {
        const value = type === 'TXT' && keys.get(name.toLowerCase());
        if (!value) {
            throw Object.assign(new Error(`no ${type} record at ${name}`), { code: 'ENOTFOUND' });
        }
        return [[value]];
    };
    for (const file of fs.readdirSync(folder).sort()) {
        const { results } = await dkimVerify(fs.readFileSync(path.join(folder, file)), { resolver });
        // A message without any signature has one result without a domain.
        results.filter(entry => entry.signingDomain).forEach((entry, index) => {
            const identity = { domain: entry.signingDomain, selector: entry.selector || '', algorithm: entry.algo || '' };
            process.stdout.write(`${JSON.stringify({ file, index, ...identity, ...verdict(entry.status) })}\n`);
        });
    }
}

main().catch(err => {
    process.stderr.write(`${err.stack}\n`);
    process.exitCode = 1;
});
