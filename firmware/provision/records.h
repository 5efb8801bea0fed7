#pragma once

#include "firmware/provision/box.h"
#include "firmware/provision/console.h"
#include "firmware/provision/stick.h"

namespace hallmark::provision {

// In the configuration's folder, once they were shown. A later configuration keeps it: what signerd wrote are the
// records of the first domains.
inline constexpr const char* kRecordsShown = "box/records-shown";

// Once after the first start: waits until signerd has the keys of the configuration's domains, and shows their DNS
// records on the console and on the stick. Where a stick is in and does not take them it tries on while `wait` lasts,
// and they are shown again at the next start. kDeadlineExceeded when there are none within `wait`.
Status ShowRecords(const Places& places, const Console& console, const Stick& stick, std::chrono::seconds wait);

}  // namespace hallmark::provision
