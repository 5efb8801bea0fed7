#!/usr/bin/perl
# Mail::DKIM, each signature by itself; tests/verifiers/common.py describes the interface.
# Debian 12's version does not know Ed25519 and says so: "unsupported".
use strict;
use warnings;

use JSON::PP ();
use Mail::DKIM::Verifier;
use Net::DNS::RR;

die "usage: $0 MESSAGE_DIR KEY_FILE\n" unless @ARGV == 2;
my ($folder, $key_file) = @ARGV;

my %keys;
open my $lines, '<', $key_file or die "$key_file: $!\n";
while (my $line = <$lines>) {
    chomp $line;
    next unless $line =~ /\S/;
    my ($name, $type, $value) = split ' ', $line, 3;
    die "$key_file: not a TXT record: $line\n" unless $type eq 'TXT';
    $keys{lc $name} = $value;
}
close $lines;

# Keys come from the file: nothing asks the network.
{
    no warnings 'redefine';
    *Mail::DKIM::DNS::query = sub {
        my ($name, $type) = @_;
        my $value = $keys{lc $name};
        return () unless defined $value && $type eq 'TXT';
        return Net::DNS::RR->new(name => $name, type => 'TXT', txtdata => [$value =~ /(.{1,255})/gs]);
    };
}

my $json = JSON::PP->new->canonical->latin1;
opendir my $directory, $folder or die "$folder: $!\n";
for my $file (sort grep { -f "$folder/$_" } readdir $directory) {
    open my $message, '<:raw', "$folder/$file" or die "$folder/$file: $!\n";
    local $/ = undef;
    my $verifier = Mail::DKIM::Verifier->new;
    eval { $verifier->PRINT(<$message>); $verifier->CLOSE; 1 } or warn "$file: $@";
    close $message;
    my $index = 0;
    for my $signature ($verifier->signatures) {
        my $result = $signature->result // '';
        my $detail = $signature->result_detail // '';
        print $json->encode({
            file => $file, index => $index++,
            domain => $signature->domain // '', selector => $signature->selector // '', algorithm => $signature->algorithm // '',
            result => $result eq 'pass' ? 'pass' : $detail =~ /unsupported algorithm/ ? 'unsupported' : $result ? 'fail' : 'error',
            detail => $result eq 'pass' ? '' : $detail,
        }), "\n";
    }
}
