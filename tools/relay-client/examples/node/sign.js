#!/usr/bin/env node
// Signs one message at Hallmark: standard input to standard output.
//
//   npm ci
//   node sign.js PROTO-FOLDER signer1.example.com:8461 server-ca.pem relay.pem relay.key < message.eml > signed.eml
//
// PROTO-FOLDER is Hallmark's folder "proto", installed as /usr/share/hallmark/proto. Where the server's certificate names another host than
// this one, that is a sixth word.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { setTimeout: sleep } = require('timers/promises');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const LARGE = 1 << 16; // From here on a message travels in chunks: a server may be configured so that Sign takes no more.
const CHUNK = 256 << 10;
const MILLISECONDS = 20000; // for everything, with all that is tried again

// Keep what this gives: it holds the connection. `serverName` is what the server's certificate says, where that is not its host.
function connect(protoFolder, server, ca, certificate, privateKey, serverName) {
  const definition = loader.loadSync('hallmark/signing/v1/signing.proto', { includeDirs: [protoFolder], keepCase: true, enums: String });
  const { SigningService } = grpc.loadPackageDefinition(definition).hallmark.signing.v1;
  const [root, chain, key] = [ca, certificate, privateKey].map((file) => fs.readFileSync(file));
  return new SigningService(server, grpc.credentials.createSsl(root, key, chain), {
    ...(serverName ? { 'grpc.ssl_target_name_override': serverName } : {}),
    'grpc.enable_retries': 0, // sign() does that
  });
}

// What a relay answers with 550, where Hallmark gives a reason other than these, which tell of trouble of the signer's or
// with this relay's certificate; all else that fails is 451.
const REFUSED = [grpc.status.INVALID_ARGUMENT, grpc.status.PERMISSION_DENIED, grpc.status.FAILED_PRECONDITION];
const SIGNERS_TROUBLE = ['CALLER_UNKNOWN', 'CERTIFICATE_REVOKED', 'NO_ACTIVE_KEY', 'KEY_MISSING', 'KEY_MISMATCH', 'TOKEN_REFUSED'];

// Reads what an error of Hallmark carries: the reason that a program goes by ("DOMAIN_NOT_ALLOWED"), after how many
// milliseconds to try again, and whether it is the message that is refused, so that this is of no use.
function detailsReader(protoFolder) {
  const root = new protobuf.Root();
  root.resolvePath = (_, target) => path.resolve(protoFolder, target);
  root.loadSync(['google/rpc/status.proto', 'google/rpc/error_details.proto']);
  return (error) => {
    const found = { reason: grpc.status[error.code], wait: 200, refused: false };
    const [octets] = error.metadata ? error.metadata.get('grpc-status-details-bin') : [];
    if (!octets) return found;
    for (const { type_url: url, typeUrl, value } of root.lookupType('google.rpc.Status').decode(octets).details) {
      const type = (url || typeUrl).split('/').pop();
      const detail = root.lookupType(type).decode(value);
      if (type === 'google.rpc.ErrorInfo' && detail.domain === 'hallmark') {
        found.reason = detail.reason;
        found.refused = REFUSED.includes(error.code) && !SIGNERS_TROUBLE.includes(detail.reason);
      }
      if (type === 'google.rpc.RetryInfo') found.wait = Number(detail.retryDelay.seconds) * 1000 + detail.retryDelay.nanos / 1e6;
    }
    return found;
  };
}

// One call. Sign for what is small, else SignLarge, with the options in the first chunk only.
function call(client, message, options, deadline) {
  return new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer));
    if (message.length < LARGE) {
      client.Sign({ message, options }, { deadline }, done);
      return;
    }
    const stream = client.SignLarge({ deadline }, done);
    stream.on('error', () => {}); // `done` is told
    let at = 0;
    const write = () => {
      while (at < message.length) {
        const chunk = { data: message.subarray(at, at + CHUNK), ...(at === 0 ? { options } : {}) };
        at += CHUNK;
        if (!stream.write(chunk)) {
          stream.once('drain', write);
          return;
        }
      }
      stream.end();
    };
    write();
  });
}

// The header fields to put before the message, and what Hallmark warns of, each { code, message }: what a later hop may do to the
// message that breaks the signature. Throws the error of the call.
async function sign(client, readDetails, message, envelope) {
  // One id for all tries: should an answer be lost, the next try gets it again, and nothing is signed or counted twice.
  const options = { ...envelope, request_id: crypto.randomUUID() };
  const end = Date.now() + MILLISECONDS;
  for (;;) {
    try {
      const answer = await call(client, message, options, end);
      return { fields: Buffer.concat(answer.signatures.map((signature) => signature.header_field)), warnings: answer.warnings || [] };
    } catch (error) {
      // The only code that is worth another try as it stands.
      const { wait } = readDetails(error);
      if (error.code !== grpc.status.UNAVAILABLE || Date.now() + wait >= end) throw error;
      await sleep(wait);
    }
  }
}

async function main() {
  if (process.argv.length !== 7 && process.argv.length !== 8) {
    console.error('usage: node sign.js PROTO-FOLDER SERVER CA CERTIFICATE PRIVATE-KEY [SERVER-NAME] < message > signed');
    return 64;
  }
  const [protoFolder, ...where] = process.argv.slice(2);
  const client = connect(path.resolve(protoFolder), ...where);
  const readDetails = detailsReader(protoFolder);
  const message = fs.readFileSync(0);
  try {
    const { fields, warnings } = await sign(client, readDetails, message, {
      envelope_sender: 'alice@example.com', envelope_recipients: ['bob@example.org'],
    });
    for (const { code, message: what } of warnings) console.error(`warning: ${code}: ${what}`);
    fs.writeSync(1, fields); // unchanged, before the first field
    for (let at = 0; at < message.length;) at += fs.writeSync(1, message, at);
    return 0;
  } catch (error) {
    if (error.code === undefined) throw error;
    const { reason, refused } = readDetails(error);
    console.error(`${reason}: ${error.details}`);
    return refused ? 77 : 75;
  } finally {
    client.close();
  }
}

if (require.main === module) main().then((code) => { process.exitCode = code; });
module.exports = { connect, detailsReader, sign };
