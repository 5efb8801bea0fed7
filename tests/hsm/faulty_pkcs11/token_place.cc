#include "token_place.h"

#include <array>

#include "rules.h"
#include "sessions.h"

namespace faulty {

TokenPlace::Now TokenPlace::Look(const CK_FUNCTION_LIST& real) {
  const auto action = ActionForToken();
  const bool absent = action && action->kind == Action::Kind::kAbsent;
  const CK_SLOT_ID offset = action && action->kind == Action::Kind::kSlot ? action->number : 0;
  if (action) action->Done();  // whoever looks finds it absent, or elsewhere
  std::shared_lock shared(mutex_);
  if (absent == absent_ && offset == offset_) return {std::move(shared), absent, offset};
  shared.unlock();
  {
    const std::unique_lock alone(mutex_);
    if (absent != absent_ || offset != offset_) CloseSessions(real);
    absent_ = absent;
    offset_ = offset;
  }
  shared.lock();
  return {std::move(shared), absent, offset};
}

bool TokenPlace::CloseEverySession(const CK_FUNCTION_LIST& real) {
  const std::unique_lock alone(mutex_);
  return CloseSessions(real);
}

bool TokenPlace::CloseSessions(const CK_FUNCTION_LIST& real) {
  std::array<CK_SLOT_ID, 64> slots{};
  CK_ULONG count = slots.size();
  if (real.C_GetSlotList(CK_TRUE, slots.data(), &count) != CKR_OK) return false;  // not initialized: there are none
  for (CK_ULONG i = 0; i < count; ++i) real.C_CloseAllSessions(slots[i]);
  return CountNoSession() != 0;
}

}  // namespace faulty
