#pragma once

#include "firmware/runtime/result.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// The built-in profile: relaxed/relaxed; all fields that say what a message means are signed; those that must occur
// once are oversigned, so that nobody can add one (but see SelectFields for Date and Message-ID); List-* and Resent-*
// are signed where present only, so that a list manager may add them; trace fields never.
SigningProfile DefaultProfile();

// Whether a profile can be used. kInvalidArgument names the member that is wrong and what was expected.
Status ValidateProfile(const SigningProfile& profile);

}  // namespace hallmark::dkim
