#include "signerd/service/stream_counts.h"

#include <absl/strings/escaping.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_replace.h>
#include <arpa/inet.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <grpc/grpc.h>
#include <grpc/support/alloc.h>

#include <string_view>

namespace hallmark::service {
namespace {

using google::protobuf::Struct;

Struct Parsed(char* json) {
  Struct parsed;
  if (json != nullptr && !google::protobuf::util::JsonStringToMessage(json, &parsed).ok()) parsed.Clear();
  ::gpr_free(json);
  return parsed;
}

const Struct& Object(const Struct& within, const std::string& name) {
  const auto found = within.fields().find(name);
  return found == within.fields().end() ? Struct::default_instance() : found->second.struct_value();
}

std::string Text(const Struct& within, const std::string& name) {
  const auto found = within.fields().find(name);
  return found == within.fields().end() ? "" : found->second.string_value();
}

// JSON has 64-bit numbers as strings (proto3's mapping).
std::int64_t Number(const Struct& within, const std::string& name) {
  std::int64_t number = 0;
  return absl::SimpleAtoi(Text(within, name), &number) ? number : 0;
}

// "chttp2 ipv6:%5B::1%5D:50222" is of the peer "::1:50222", "chttp2 ipv6:%5Bfe80::1%252%5D:50222" of "fe80::1:50222".
std::string PeerOf(const Struct& socket_ref) {
  const std::string text = Text(socket_ref, "name");
  std::string_view name = text;
  for (const std::string_view before : {"chttp2 ", "ipv4:", "ipv6:"}) {
    if (name.starts_with(before)) name.remove_prefix(before.size());
  }
  std::string peer = absl::StrReplaceAll(absl::string_view(name.data(), name.size()),
                                         {{"%5B", ""}, {"%5D", ""}, {"[", ""}, {"]", ""}});
  const std::size_t interface = peer.find('%');
  if (interface != std::string::npos) peer.erase(interface, peer.rfind(':') - interface);
  return peer;
}

// As AcceptedConnection has it; empty where it is none of an IP address.
std::string OwnOf(const Struct& socket) {
  const Struct& address = Object(Object(socket, "local"), "tcpip_address");
  std::string octets;
  absl::Base64Unescape(Text(address, "ip_address"), &octets);
  const bool is_four = octets.size() == sizeof(in_addr);
  char host[INET6_ADDRSTRLEN] = "";
  if (!is_four && octets.size() != sizeof(in6_addr)) return "";
  ::inet_ntop(is_four ? AF_INET : AF_INET6, octets.data(), host, sizeof host);
  const auto port = address.fields().find("port");
  if (port == address.fields().end()) return "";
  return std::string(host) + ":" + std::to_string(static_cast<int>(port->second.number_value()));
}

StreamCounts CountsOf(const Struct& socket) {
  const Struct& data = Object(socket, "data");
  const auto count = [&](const char* name) { return static_cast<std::uint64_t>(Number(data, name)); };
  return {count("streamsStarted"), count("streamsSucceeded"), count("streamsFailed"), count("messagesReceived"),
          Text(Object(Object(socket, "security"), "tls"), "remote_certificate")};
}

// Calls for each element of the list `name` in what `page` tells from an id on; of all its pages.
template <typename Page, typename Each>
void ForEach(const std::string& name, const Page& page, const Each& each) {
  for (std::int64_t from = 0;;) {
    const Struct answer = Parsed(page(from));
    const auto list = answer.fields().find(name);
    if (list == answer.fields().end() || list->second.list_value().values().empty()) return;
    for (const auto& value : list->second.list_value().values()) from = each(value.struct_value()) + 1;
    const auto end = answer.fields().find("end");
    if (end != answer.fields().end() && end->second.bool_value()) return;
  }
}

}  // namespace

std::map<SocketId, StreamCounts> CountStreams(const std::set<SocketId>& connections,
                                              const AcceptedConnections& accepted) {
  // By the peer, and then by the own address: from one port a peer may connect to each of ours.
  std::map<std::string, std::map<std::string, SocketId>> wanted;
  for (const SocketId id : connections) wanted[accepted.at(id).peer][accepted.at(id).own] = id;
  std::map<SocketId, StreamCounts> counts;
  const auto of_socket = [&](const Struct& ref) {
    const std::int64_t id = Number(ref, "socketId");
    const auto of_peer = wanted.find(PeerOf(ref));
    if (of_peer == wanted.end()) return id;
    const Struct answer = Parsed(::grpc_channelz_get_socket(id));
    const Struct& socket = Object(answer, "socket");
    const auto found = of_peer->second.find(OwnOf(socket));
    // The last one of several is the newest: the others were closed, which gRPC is still to find out.
    if (found != of_peer->second.end()) counts[found->second] = CountsOf(socket);
    return id;
  };
  const auto of_server = [&](const Struct& server) {
    const std::int64_t id = Number(Object(server, "ref"), "serverId");
    ForEach(
        "socketRef", [&](std::int64_t from) { return ::grpc_channelz_get_server_sockets(id, from, 0); }, of_socket);
    return id;
  };
  ForEach(
      "server", [](std::int64_t from) { return ::grpc_channelz_get_servers(from); }, of_server);
  return counts;
}

}  // namespace hallmark::service
