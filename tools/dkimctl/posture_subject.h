#pragma once

#include "tools/dkimctl/client.h"
#include "tools/posture/posture.h"

namespace hallmark::ctl {

// Adds what signerd knows of the domain to `subject`: its keys, the i= of its profile, the partners whose From domain
// may be another than the signing domain. Reports a domain that signerd does not know, and one that has no active key.
// A failure says why signerd was of no help; `subject` may then have a part of it.
Answer<void> AskSignerd(AdminClient& client, posture::Subject& subject, posture::Report& report);

}  // namespace hallmark::ctl
