#!/usr/bin/perl
# Mail::DKIM's body hash, fed as Mail::DKIM::Signer feeds it: see libraries.py for the interface.
use strict;
use warnings;

use Digest::SHA ();
use JSON::PP    ();
use Mail::DKIM::Canonicalization::relaxed;
use Mail::DKIM::Signature;
use Time::HiRes ();

my $CHUNK = 65536;

# The parser that Mail::DKIM::Signer is built on, past the header: it cuts what it is given at line ends.
package BodyParser {
    use parent -norequire, 'Mail::DKIM::MessageParser';

    sub init {
        my $self = shift;
        $self->SUPER::init;
        $self->{in_header} = 0;
        $self->{digest}    = Digest::SHA->new(256);
        $self->{canonical} = Mail::DKIM::Canonicalization::relaxed->new(
            output_digest => $self->{digest},
            Signature     => Mail::DKIM::Signature->new,
        );
    }

    sub add_body {
        my $self = shift;
        $self->{canonical}->add_body(@_);
    }

    sub finish_body {
        my $self = shift;
        $self->{canonical}->finish_body;
    }
}

sub body_hash {
    my ($body) = @_;
    my $parser = BodyParser->new_object;
    for (my $at = 0; $at < length $$body; $at += $CHUNK) {
        $parser->PRINT(substr $$body, $at, $CHUNK);
    }
    $parser->CLOSE;
    return $parser->{digest}->b64digest . '=';    # b64digest leaves the padding out.
}

# GB/s of CPU time.
sub rate {
    my ($body, $octets, $seconds, $batch) = @_;
    my ($rounds, $start, $spent) = (0, Time::HiRes::clock());
    while (($spent = Time::HiRes::clock() - $start) < $seconds) {
        body_hash($body) for 1 .. $batch;
        $rounds += $batch;
    }
    return $octets * $rounds / $spent / 1e9;
}

my ($path, $seconds, $octets, $batch, $repeats) = @ARGV;
open my $file, '<:raw', $path or die "$path: $!\n";
my $body = do { local $/ = undef; <$file> };
close $file;

rate(\$body, $octets, $seconds / 5, $batch);    # Warms caches and memory up.
my @samples = map { rate(\$body, $octets, $seconds, $batch) } 1 .. $repeats;
print JSON::PP->new->encode({ hash => body_hash(\$body), samples => \@samples }), "\n";
