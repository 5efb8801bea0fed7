#include "tools/dkimctl/qr_code.h"

#include <qrencode.h>

#include <memory>

namespace hallmark::ctl {
namespace {

// Light modules around the code; the standard's four make it higher than most terminals are.
constexpr int kMargin = 2;
constexpr std::string_view kWhiteOnBlack = "\033[97;40m", kReset = "\033[0m";
constexpr std::string_view kHalves[] = {" ", "▄", "▀", "█"};  // by which of the two is light: upper, lower

struct FreeCode {
  void operator()(QRcode* code) const { QRcode_free(code); }
};

bool IsLight(const QRcode& code, int row, int column) {
  if (row < 0 || column < 0 || row >= code.width || column >= code.width) return true;
  return (code.data[row * code.width + column] & 1) == 0;
}

}  // namespace

Answer<std::string> QrCode(std::string_view text) {
  const std::unique_ptr<QRcode, FreeCode> code(QRcode_encodeString8bit(std::string(text).c_str(), 0, QR_ECLEVEL_L));
  if (code == nullptr) return Failed("the text does not fit into a QR code");
  const int end = code->width + kMargin;
  std::string drawn;
  for (int row = -kMargin; row < end; row += 2) {
    drawn += kWhiteOnBlack;
    for (int column = -kMargin; column < end; ++column) {
      const int upper = IsLight(*code, row, column) ? 2 : 0, lower = IsLight(*code, row + 1, column) ? 1 : 0;
      drawn += kHalves[upper + lower];
    }
    drawn += kReset;
    drawn += '\n';
  }
  return drawn;
}

}  // namespace hallmark::ctl
