#pragma once

#include <string>

#include "hallmark/admin/v1/certificates.pb.h"

namespace hallmark::ctl {

// The certificates, first to expire first, and what is wrong with files. Without `all`: only those that expire within
// 30 days; then it is empty where nothing needs to be done.
std::string CertificateTable(const admin::v1::ListCertificatesResponse& answer, bool all);

}  // namespace hallmark::ctl
