// Haraka plugin: signs outbound mail at Hallmark before it is queued. docs/relays.md says how it is set up.
//
// Settings are in config/hallmark.ini:
//
//   [main]
//   server=signer1.example.com:8461
//   ca=/etc/hallmark/tls/server-ca.pem
//   certificate=/etc/hallmark/tls/relay.pem
//   private_key=/etc/hallmark/tls/relay.key
//   proto=/usr/share/hallmark/proto
//
// and, where the server's certificate says another name than its host, that as server_name.
'use strict';

const { connect, detailsReader, sign } = require('../hallmark/sign.js');

exports.register = function () {
  const { main } = this.config.get('hallmark.ini');
  this.client = connect(main.proto, main.server, main.ca, main.certificate, main.private_key, main.server_name);
  this.read_details = detailsReader(main.proto);
};

// Runs for mail of those who may relay; everybody else's is left alone.
exports.hook_queue_outbound = function (next, connection) {
  const { transaction } = connection;
  add_missing(transaction);
  transaction.message_stream.get_data((message) => {
    const envelope = {
      envelope_sender: text(transaction.mail_from),
      envelope_recipients: transaction.rcpt_to.map(text),
    };
    sign(this.client, this.read_details, message, envelope).then(({ fields, warnings }) => {
      for (const { code, message: what } of warnings) connection.lognotice(this, `signed with a warning: ${code}: ${what}`);
      add_fields(transaction, fields.toString('latin1'));
      next();
    }, (error) => {
      const { reason, refused } = this.read_details(error);
      connection.lognotice(this, `not signed: ${reason}: ${error.details || error.message}`);
      if (reason === 'DOMAIN_NOT_CONFIGURED') next(); // nobody here signs for its author domain: it leaves unsigned
      else if (refused) next(DENY, `not signed here: ${reason}`);
      else next(DENYSOFT, 'cannot be signed now');
    });
  });
};

exports.shutdown = function () {
  this.client.close();
};

// An address without its angle brackets; in older versions of Haraka by a method.
function text(path) {
  return (typeof path.address === 'function' ? path.address() : path.address) || '';
}

// Haraka would add these later, and a signature says that there are none.
function add_missing(transaction) {
  if (!transaction.header.get('Message-Id')) transaction.add_header('Message-Id', `<${transaction.uuid}@${require('os').hostname()}>`);
  if (!transaction.header.get('Date')) transaction.add_header('Date', new Date().toUTCString().replace('GMT', '+0000'));
}

// On top, in this order; Haraka writes the name and the line end of each itself.
function add_fields(transaction, fields) {
  for (const field of fields.split(/\r?\n(?![ \t])/).filter(Boolean).reverse()) {
    const colon = field.indexOf(':');
    transaction.add_leading_header(field.slice(0, colon), field.slice(colon + 1).trim());
  }
}
