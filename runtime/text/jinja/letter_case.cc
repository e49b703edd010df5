#include "runtime/text/jinja/letter_case.h"

#include <algorithm>
#include <cstdint>

#include "absl/types/span.h"
#include "runtime/text/jinja/characters.h"

namespace ternion::jinja {
namespace {

// first, first + stride, ... up to last: each becomes itself + change.
struct Row {
  uint32_t first;
  uint32_t last;
  uint32_t stride;
  int32_t change;
};
// A character that becomes several, or in title case something else than in upper case.
struct Full {
  uint32_t character;
  std::string_view mapped;
};

// Written by tests/tools/letter_case.py.
// clang-format off
constexpr Row kUpper[] = {
    {0xB5, 0xB5, 2, 743}, {0xE0, 0xF6, 1, -32}, {0xF8, 0xFE, 1, -32}, {0xFF, 0xFF, 2, 121},
    {0x101, 0x12F, 2, -1}, {0x131, 0x131, 2, -232}, {0x133, 0x137, 2, -1}, {0x13A, 0x148, 2, -1},
    {0x14B, 0x177, 2, -1}, {0x17A, 0x17E, 2, -1}, {0x17F, 0x17F, 2, -300}, {0x180, 0x180, 2, 195},
    {0x183, 0x185, 2, -1}, {0x188, 0x188, 2, -1}, {0x18C, 0x18C, 2, -1}, {0x192, 0x192, 2, -1},
    {0x195, 0x195, 2, 97}, {0x199, 0x199, 2, -1}, {0x19A, 0x19A, 2, 163}, {0x19E, 0x19E, 2, 130},
    {0x1A1, 0x1A5, 2, -1}, {0x1A8, 0x1A8, 2, -1}, {0x1AD, 0x1AD, 2, -1}, {0x1B0, 0x1B0, 2, -1},
    {0x1B4, 0x1B6, 2, -1}, {0x1B9, 0x1B9, 2, -1}, {0x1BD, 0x1BD, 2, -1}, {0x1BF, 0x1BF, 2, 56},
    {0x1C5, 0x1C5, 2, -1}, {0x1C6, 0x1C6, 2, -2}, {0x1C8, 0x1C8, 2, -1}, {0x1C9, 0x1C9, 2, -2},
    {0x1CB, 0x1CB, 2, -1}, {0x1CC, 0x1CC, 2, -2}, {0x1CE, 0x1DC, 2, -1}, {0x1DD, 0x1DD, 2, -79},
    {0x1DF, 0x1EF, 2, -1}, {0x1F2, 0x1F2, 2, -1}, {0x1F3, 0x1F3, 2, -2}, {0x1F5, 0x1F5, 2, -1},
    {0x1F9, 0x21F, 2, -1}, {0x223, 0x233, 2, -1}, {0x23C, 0x23C, 2, -1}, {0x23F, 0x240, 1, 10815},
    {0x242, 0x242, 2, -1}, {0x247, 0x24F, 2, -1}, {0x250, 0x250, 2, 10783}, {0x251, 0x251, 2, 10780},
    {0x252, 0x252, 2, 10782}, {0x253, 0x253, 2, -210}, {0x254, 0x254, 2, -206}, {0x256, 0x257, 1, -205},
    {0x259, 0x259, 2, -202}, {0x25B, 0x25B, 2, -203}, {0x25C, 0x25C, 2, 42319}, {0x260, 0x260, 2, -205},
    {0x261, 0x261, 2, 42315}, {0x263, 0x263, 2, -207}, {0x265, 0x265, 2, 42280}, {0x266, 0x266, 2, 42308},
    {0x268, 0x268, 2, -209}, {0x269, 0x269, 2, -211}, {0x26A, 0x26A, 2, 42308}, {0x26B, 0x26B, 2, 10743},
    {0x26C, 0x26C, 2, 42305}, {0x26F, 0x26F, 2, -211}, {0x271, 0x271, 2, 10749}, {0x272, 0x272, 2, -213},
    {0x275, 0x275, 2, -214}, {0x27D, 0x27D, 2, 10727}, {0x280, 0x280, 2, -218}, {0x282, 0x282, 2, 42307},
    {0x283, 0x283, 2, -218}, {0x287, 0x287, 2, 42282}, {0x288, 0x288, 2, -218}, {0x289, 0x289, 2, -69},
    {0x28A, 0x28B, 1, -217}, {0x28C, 0x28C, 2, -71}, {0x292, 0x292, 2, -219}, {0x29D, 0x29D, 2, 42261},
    {0x29E, 0x29E, 2, 42258}, {0x345, 0x345, 2, 84}, {0x371, 0x373, 2, -1}, {0x377, 0x377, 2, -1},
    {0x37B, 0x37D, 1, 130}, {0x3AC, 0x3AC, 2, -38}, {0x3AD, 0x3AF, 1, -37}, {0x3B1, 0x3C1, 1, -32},
    {0x3C2, 0x3C2, 2, -31}, {0x3C3, 0x3CB, 1, -32}, {0x3CC, 0x3CC, 2, -64}, {0x3CD, 0x3CE, 1, -63},
    {0x3D0, 0x3D0, 2, -62}, {0x3D1, 0x3D1, 2, -57}, {0x3D5, 0x3D5, 2, -47}, {0x3D6, 0x3D6, 2, -54},
    {0x3D7, 0x3D7, 2, -8}, {0x3D9, 0x3EF, 2, -1}, {0x3F0, 0x3F0, 2, -86}, {0x3F1, 0x3F1, 2, -80},
    {0x3F2, 0x3F2, 2, 7}, {0x3F3, 0x3F3, 2, -116}, {0x3F5, 0x3F5, 2, -96}, {0x3F8, 0x3F8, 2, -1},
    {0x3FB, 0x3FB, 2, -1}, {0x430, 0x44F, 1, -32}, {0x450, 0x45F, 1, -80}, {0x461, 0x481, 2, -1},
    {0x48B, 0x4BF, 2, -1}, {0x4C2, 0x4CE, 2, -1}, {0x4CF, 0x4CF, 2, -15}, {0x4D1, 0x52F, 2, -1},
    {0x561, 0x586, 1, -48}, {0x10D0, 0x10FA, 1, 3008}, {0x10FD, 0x10FF, 1, 3008}, {0x13F8, 0x13FD, 1, -8},
    {0x1C80, 0x1C80, 2, -6254}, {0x1C81, 0x1C81, 2, -6253}, {0x1C82, 0x1C82, 2, -6244}, {0x1C83, 0x1C84, 1, -6242},
    {0x1C85, 0x1C85, 2, -6243}, {0x1C86, 0x1C86, 2, -6236}, {0x1C87, 0x1C87, 2, -6181}, {0x1C88, 0x1C88, 2, 35266},
    {0x1D79, 0x1D79, 2, 35332}, {0x1D7D, 0x1D7D, 2, 3814}, {0x1D8E, 0x1D8E, 2, 35384}, {0x1E01, 0x1E95, 2, -1},
    {0x1E9B, 0x1E9B, 2, -59}, {0x1EA1, 0x1EFF, 2, -1}, {0x1F00, 0x1F07, 1, 8}, {0x1F10, 0x1F15, 1, 8},
    {0x1F20, 0x1F27, 1, 8}, {0x1F30, 0x1F37, 1, 8}, {0x1F40, 0x1F45, 1, 8}, {0x1F51, 0x1F57, 2, 8},
    {0x1F60, 0x1F67, 1, 8}, {0x1F70, 0x1F71, 1, 74}, {0x1F72, 0x1F75, 1, 86}, {0x1F76, 0x1F77, 1, 100},
    {0x1F78, 0x1F79, 1, 128}, {0x1F7A, 0x1F7B, 1, 112}, {0x1F7C, 0x1F7D, 1, 126}, {0x1FB0, 0x1FB1, 1, 8},
    {0x1FBE, 0x1FBE, 2, -7205}, {0x1FD0, 0x1FD1, 1, 8}, {0x1FE0, 0x1FE1, 1, 8}, {0x1FE5, 0x1FE5, 2, 7},
    {0x214E, 0x214E, 2, -28}, {0x2170, 0x217F, 1, -16}, {0x2184, 0x2184, 2, -1}, {0x24D0, 0x24E9, 1, -26},
    {0x2C30, 0x2C5F, 1, -48}, {0x2C61, 0x2C61, 2, -1}, {0x2C65, 0x2C65, 2, -10795}, {0x2C66, 0x2C66, 2, -10792},
    {0x2C68, 0x2C6C, 2, -1}, {0x2C73, 0x2C73, 2, -1}, {0x2C76, 0x2C76, 2, -1}, {0x2C81, 0x2CE3, 2, -1},
    {0x2CEC, 0x2CEE, 2, -1}, {0x2CF3, 0x2CF3, 2, -1}, {0x2D00, 0x2D25, 1, -7264}, {0x2D27, 0x2D27, 2, -7264},
    {0x2D2D, 0x2D2D, 2, -7264}, {0xA641, 0xA66D, 2, -1}, {0xA681, 0xA69B, 2, -1}, {0xA723, 0xA72F, 2, -1},
    {0xA733, 0xA76F, 2, -1}, {0xA77A, 0xA77C, 2, -1}, {0xA77F, 0xA787, 2, -1}, {0xA78C, 0xA78C, 2, -1},
    {0xA791, 0xA793, 2, -1}, {0xA794, 0xA794, 2, 48}, {0xA797, 0xA7A9, 2, -1}, {0xA7B5, 0xA7C3, 2, -1},
    {0xA7C8, 0xA7CA, 2, -1}, {0xA7D1, 0xA7D1, 2, -1}, {0xA7D7, 0xA7D9, 2, -1}, {0xA7F6, 0xA7F6, 2, -1},
    {0xAB53, 0xAB53, 2, -928}, {0xAB70, 0xABBF, 1, -38864}, {0xFF41, 0xFF5A, 1, -32}, {0x10428, 0x1044F, 1, -40},
    {0x104D8, 0x104FB, 1, -40}, {0x10597, 0x105A1, 1, -39}, {0x105A3, 0x105B1, 1, -39}, {0x105B3, 0x105B9, 1, -39},
    {0x105BB, 0x105BC, 1, -39}, {0x10CC0, 0x10CF2, 1, -64}, {0x118C0, 0x118DF, 1, -32}, {0x16E60, 0x16E7F, 1, -32},
    {0x1E922, 0x1E943, 1, -34},
};
constexpr Row kLower[] = {
    {0xC0, 0xD6, 1, 32}, {0xD8, 0xDE, 1, 32}, {0x100, 0x12E, 2, 1}, {0x132, 0x136, 2, 1},
    {0x139, 0x147, 2, 1}, {0x14A, 0x176, 2, 1}, {0x178, 0x178, 2, -121}, {0x179, 0x17D, 2, 1},
    {0x181, 0x181, 2, 210}, {0x182, 0x184, 2, 1}, {0x186, 0x186, 2, 206}, {0x187, 0x187, 2, 1},
    {0x189, 0x18A, 1, 205}, {0x18B, 0x18B, 2, 1}, {0x18E, 0x18E, 2, 79}, {0x18F, 0x18F, 2, 202},
    {0x190, 0x190, 2, 203}, {0x191, 0x191, 2, 1}, {0x193, 0x193, 2, 205}, {0x194, 0x194, 2, 207},
    {0x196, 0x196, 2, 211}, {0x197, 0x197, 2, 209}, {0x198, 0x198, 2, 1}, {0x19C, 0x19C, 2, 211},
    {0x19D, 0x19D, 2, 213}, {0x19F, 0x19F, 2, 214}, {0x1A0, 0x1A4, 2, 1}, {0x1A6, 0x1A6, 2, 218},
    {0x1A7, 0x1A7, 2, 1}, {0x1A9, 0x1A9, 2, 218}, {0x1AC, 0x1AC, 2, 1}, {0x1AE, 0x1AE, 2, 218},
    {0x1AF, 0x1AF, 2, 1}, {0x1B1, 0x1B2, 1, 217}, {0x1B3, 0x1B5, 2, 1}, {0x1B7, 0x1B7, 2, 219},
    {0x1B8, 0x1B8, 2, 1}, {0x1BC, 0x1BC, 2, 1}, {0x1C4, 0x1C4, 2, 2}, {0x1C5, 0x1C5, 2, 1},
    {0x1C7, 0x1C7, 2, 2}, {0x1C8, 0x1C8, 2, 1}, {0x1CA, 0x1CA, 2, 2}, {0x1CB, 0x1DB, 2, 1},
    {0x1DE, 0x1EE, 2, 1}, {0x1F1, 0x1F1, 2, 2}, {0x1F2, 0x1F4, 2, 1}, {0x1F6, 0x1F6, 2, -97},
    {0x1F7, 0x1F7, 2, -56}, {0x1F8, 0x21E, 2, 1}, {0x220, 0x220, 2, -130}, {0x222, 0x232, 2, 1},
    {0x23A, 0x23A, 2, 10795}, {0x23B, 0x23B, 2, 1}, {0x23D, 0x23D, 2, -163}, {0x23E, 0x23E, 2, 10792},
    {0x241, 0x241, 2, 1}, {0x243, 0x243, 2, -195}, {0x244, 0x244, 2, 69}, {0x245, 0x245, 2, 71},
    {0x246, 0x24E, 2, 1}, {0x370, 0x372, 2, 1}, {0x376, 0x376, 2, 1}, {0x37F, 0x37F, 2, 116},
    {0x386, 0x386, 2, 38}, {0x388, 0x38A, 1, 37}, {0x38C, 0x38C, 2, 64}, {0x38E, 0x38F, 1, 63},
    {0x391, 0x3A1, 1, 32}, {0x3A3, 0x3AB, 1, 32}, {0x3CF, 0x3CF, 2, 8}, {0x3D8, 0x3EE, 2, 1},
    {0x3F4, 0x3F4, 2, -60}, {0x3F7, 0x3F7, 2, 1}, {0x3F9, 0x3F9, 2, -7}, {0x3FA, 0x3FA, 2, 1},
    {0x3FD, 0x3FF, 1, -130}, {0x400, 0x40F, 1, 80}, {0x410, 0x42F, 1, 32}, {0x460, 0x480, 2, 1},
    {0x48A, 0x4BE, 2, 1}, {0x4C0, 0x4C0, 2, 15}, {0x4C1, 0x4CD, 2, 1}, {0x4D0, 0x52E, 2, 1},
    {0x531, 0x556, 1, 48}, {0x10A0, 0x10C5, 1, 7264}, {0x10C7, 0x10C7, 2, 7264}, {0x10CD, 0x10CD, 2, 7264},
    {0x13A0, 0x13EF, 1, 38864}, {0x13F0, 0x13F5, 1, 8}, {0x1C90, 0x1CBA, 1, -3008}, {0x1CBD, 0x1CBF, 1, -3008},
    {0x1E00, 0x1E94, 2, 1}, {0x1E9E, 0x1E9E, 2, -7615}, {0x1EA0, 0x1EFE, 2, 1}, {0x1F08, 0x1F0F, 1, -8},
    {0x1F18, 0x1F1D, 1, -8}, {0x1F28, 0x1F2F, 1, -8}, {0x1F38, 0x1F3F, 1, -8}, {0x1F48, 0x1F4D, 1, -8},
    {0x1F59, 0x1F5F, 2, -8}, {0x1F68, 0x1F6F, 1, -8}, {0x1F88, 0x1F8F, 1, -8}, {0x1F98, 0x1F9F, 1, -8},
    {0x1FA8, 0x1FAF, 1, -8}, {0x1FB8, 0x1FB9, 1, -8}, {0x1FBA, 0x1FBB, 1, -74}, {0x1FBC, 0x1FBC, 2, -9},
    {0x1FC8, 0x1FCB, 1, -86}, {0x1FCC, 0x1FCC, 2, -9}, {0x1FD8, 0x1FD9, 1, -8}, {0x1FDA, 0x1FDB, 1, -100},
    {0x1FE8, 0x1FE9, 1, -8}, {0x1FEA, 0x1FEB, 1, -112}, {0x1FEC, 0x1FEC, 2, -7}, {0x1FF8, 0x1FF9, 1, -128},
    {0x1FFA, 0x1FFB, 1, -126}, {0x1FFC, 0x1FFC, 2, -9}, {0x2126, 0x2126, 2, -7517}, {0x212A, 0x212A, 2, -8383},
    {0x212B, 0x212B, 2, -8262}, {0x2132, 0x2132, 2, 28}, {0x2160, 0x216F, 1, 16}, {0x2183, 0x2183, 2, 1},
    {0x24B6, 0x24CF, 1, 26}, {0x2C00, 0x2C2F, 1, 48}, {0x2C60, 0x2C60, 2, 1}, {0x2C62, 0x2C62, 2, -10743},
    {0x2C63, 0x2C63, 2, -3814}, {0x2C64, 0x2C64, 2, -10727}, {0x2C67, 0x2C6B, 2, 1}, {0x2C6D, 0x2C6D, 2, -10780},
    {0x2C6E, 0x2C6E, 2, -10749}, {0x2C6F, 0x2C6F, 2, -10783}, {0x2C70, 0x2C70, 2, -10782}, {0x2C72, 0x2C72, 2, 1},
    {0x2C75, 0x2C75, 2, 1}, {0x2C7E, 0x2C7F, 1, -10815}, {0x2C80, 0x2CE2, 2, 1}, {0x2CEB, 0x2CED, 2, 1},
    {0x2CF2, 0x2CF2, 2, 1}, {0xA640, 0xA66C, 2, 1}, {0xA680, 0xA69A, 2, 1}, {0xA722, 0xA72E, 2, 1},
    {0xA732, 0xA76E, 2, 1}, {0xA779, 0xA77B, 2, 1}, {0xA77D, 0xA77D, 2, -35332}, {0xA77E, 0xA786, 2, 1},
    {0xA78B, 0xA78B, 2, 1}, {0xA78D, 0xA78D, 2, -42280}, {0xA790, 0xA792, 2, 1}, {0xA796, 0xA7A8, 2, 1},
    {0xA7AA, 0xA7AA, 2, -42308}, {0xA7AB, 0xA7AB, 2, -42319}, {0xA7AC, 0xA7AC, 2, -42315}, {0xA7AD, 0xA7AD, 2, -42305},
    {0xA7AE, 0xA7AE, 2, -42308}, {0xA7B0, 0xA7B0, 2, -42258}, {0xA7B1, 0xA7B1, 2, -42282}, {0xA7B2, 0xA7B2, 2, -42261},
    {0xA7B3, 0xA7B3, 2, 928}, {0xA7B4, 0xA7C2, 2, 1}, {0xA7C4, 0xA7C4, 2, -48}, {0xA7C5, 0xA7C5, 2, -42307},
    {0xA7C6, 0xA7C6, 2, -35384}, {0xA7C7, 0xA7C9, 2, 1}, {0xA7D0, 0xA7D0, 2, 1}, {0xA7D6, 0xA7D8, 2, 1},
    {0xA7F5, 0xA7F5, 2, 1}, {0xFF21, 0xFF3A, 1, 32}, {0x10400, 0x10427, 1, 40}, {0x104B0, 0x104D3, 1, 40},
    {0x10570, 0x1057A, 1, 39}, {0x1057C, 0x1058A, 1, 39}, {0x1058C, 0x10592, 1, 39}, {0x10594, 0x10595, 1, 39},
    {0x10C80, 0x10CB2, 1, 64}, {0x118A0, 0x118BF, 1, 32}, {0x16E40, 0x16E5F, 1, 32}, {0x1E900, 0x1E921, 1, 34},
};
constexpr Full kFullUpper[] = {
    {0xDF, "\x53\x53"}, {0x149, "\xCA\xBC\x4E"}, {0x1F0, "\x4A\xCC\x8C"},
    {0x390, "\xCE\x99\xCC\x88\xCC\x81"}, {0x3B0, "\xCE\xA5\xCC\x88\xCC\x81"}, {0x587, "\xD4\xB5\xD5\x92"},
    {0x1E96, "\x48\xCC\xB1"}, {0x1E97, "\x54\xCC\x88"}, {0x1E98, "\x57\xCC\x8A"},
    {0x1E99, "\x59\xCC\x8A"}, {0x1E9A, "\x41\xCA\xBE"}, {0x1F50, "\xCE\xA5\xCC\x93"},
    {0x1F52, "\xCE\xA5\xCC\x93\xCC\x80"}, {0x1F54, "\xCE\xA5\xCC\x93\xCC\x81"}, {0x1F56, "\xCE\xA5\xCC\x93\xCD\x82"},
    {0x1F80, "\xE1\xBC\x88\xCE\x99"}, {0x1F81, "\xE1\xBC\x89\xCE\x99"}, {0x1F82, "\xE1\xBC\x8A\xCE\x99"},
    {0x1F83, "\xE1\xBC\x8B\xCE\x99"}, {0x1F84, "\xE1\xBC\x8C\xCE\x99"}, {0x1F85, "\xE1\xBC\x8D\xCE\x99"},
    {0x1F86, "\xE1\xBC\x8E\xCE\x99"}, {0x1F87, "\xE1\xBC\x8F\xCE\x99"}, {0x1F88, "\xE1\xBC\x88\xCE\x99"},
    {0x1F89, "\xE1\xBC\x89\xCE\x99"}, {0x1F8A, "\xE1\xBC\x8A\xCE\x99"}, {0x1F8B, "\xE1\xBC\x8B\xCE\x99"},
    {0x1F8C, "\xE1\xBC\x8C\xCE\x99"}, {0x1F8D, "\xE1\xBC\x8D\xCE\x99"}, {0x1F8E, "\xE1\xBC\x8E\xCE\x99"},
    {0x1F8F, "\xE1\xBC\x8F\xCE\x99"}, {0x1F90, "\xE1\xBC\xA8\xCE\x99"}, {0x1F91, "\xE1\xBC\xA9\xCE\x99"},
    {0x1F92, "\xE1\xBC\xAA\xCE\x99"}, {0x1F93, "\xE1\xBC\xAB\xCE\x99"}, {0x1F94, "\xE1\xBC\xAC\xCE\x99"},
    {0x1F95, "\xE1\xBC\xAD\xCE\x99"}, {0x1F96, "\xE1\xBC\xAE\xCE\x99"}, {0x1F97, "\xE1\xBC\xAF\xCE\x99"},
    {0x1F98, "\xE1\xBC\xA8\xCE\x99"}, {0x1F99, "\xE1\xBC\xA9\xCE\x99"}, {0x1F9A, "\xE1\xBC\xAA\xCE\x99"},
    {0x1F9B, "\xE1\xBC\xAB\xCE\x99"}, {0x1F9C, "\xE1\xBC\xAC\xCE\x99"}, {0x1F9D, "\xE1\xBC\xAD\xCE\x99"},
    {0x1F9E, "\xE1\xBC\xAE\xCE\x99"}, {0x1F9F, "\xE1\xBC\xAF\xCE\x99"}, {0x1FA0, "\xE1\xBD\xA8\xCE\x99"},
    {0x1FA1, "\xE1\xBD\xA9\xCE\x99"}, {0x1FA2, "\xE1\xBD\xAA\xCE\x99"}, {0x1FA3, "\xE1\xBD\xAB\xCE\x99"},
    {0x1FA4, "\xE1\xBD\xAC\xCE\x99"}, {0x1FA5, "\xE1\xBD\xAD\xCE\x99"}, {0x1FA6, "\xE1\xBD\xAE\xCE\x99"},
    {0x1FA7, "\xE1\xBD\xAF\xCE\x99"}, {0x1FA8, "\xE1\xBD\xA8\xCE\x99"}, {0x1FA9, "\xE1\xBD\xA9\xCE\x99"},
    {0x1FAA, "\xE1\xBD\xAA\xCE\x99"}, {0x1FAB, "\xE1\xBD\xAB\xCE\x99"}, {0x1FAC, "\xE1\xBD\xAC\xCE\x99"},
    {0x1FAD, "\xE1\xBD\xAD\xCE\x99"}, {0x1FAE, "\xE1\xBD\xAE\xCE\x99"}, {0x1FAF, "\xE1\xBD\xAF\xCE\x99"},
    {0x1FB2, "\xE1\xBE\xBA\xCE\x99"}, {0x1FB3, "\xCE\x91\xCE\x99"}, {0x1FB4, "\xCE\x86\xCE\x99"},
    {0x1FB6, "\xCE\x91\xCD\x82"}, {0x1FB7, "\xCE\x91\xCD\x82\xCE\x99"}, {0x1FBC, "\xCE\x91\xCE\x99"},
    {0x1FC2, "\xE1\xBF\x8A\xCE\x99"}, {0x1FC3, "\xCE\x97\xCE\x99"}, {0x1FC4, "\xCE\x89\xCE\x99"},
    {0x1FC6, "\xCE\x97\xCD\x82"}, {0x1FC7, "\xCE\x97\xCD\x82\xCE\x99"}, {0x1FCC, "\xCE\x97\xCE\x99"},
    {0x1FD2, "\xCE\x99\xCC\x88\xCC\x80"}, {0x1FD3, "\xCE\x99\xCC\x88\xCC\x81"}, {0x1FD6, "\xCE\x99\xCD\x82"},
    {0x1FD7, "\xCE\x99\xCC\x88\xCD\x82"}, {0x1FE2, "\xCE\xA5\xCC\x88\xCC\x80"}, {0x1FE3, "\xCE\xA5\xCC\x88\xCC\x81"},
    {0x1FE4, "\xCE\xA1\xCC\x93"}, {0x1FE6, "\xCE\xA5\xCD\x82"}, {0x1FE7, "\xCE\xA5\xCC\x88\xCD\x82"},
    {0x1FF2, "\xE1\xBF\xBA\xCE\x99"}, {0x1FF3, "\xCE\xA9\xCE\x99"}, {0x1FF4, "\xCE\x8F\xCE\x99"},
    {0x1FF6, "\xCE\xA9\xCD\x82"}, {0x1FF7, "\xCE\xA9\xCD\x82\xCE\x99"}, {0x1FFC, "\xCE\xA9\xCE\x99"},
    {0xFB00, "\x46\x46"}, {0xFB01, "\x46\x49"}, {0xFB02, "\x46\x4C"},
    {0xFB03, "\x46\x46\x49"}, {0xFB04, "\x46\x46\x4C"}, {0xFB05, "\x53\x54"},
    {0xFB06, "\x53\x54"}, {0xFB13, "\xD5\x84\xD5\x86"}, {0xFB14, "\xD5\x84\xD4\xB5"},
    {0xFB15, "\xD5\x84\xD4\xBB"}, {0xFB16, "\xD5\x8E\xD5\x86"}, {0xFB17, "\xD5\x84\xD4\xBD"},
};
constexpr Full kFullLower[] = {
    {0x130, "\x69\xCC\x87"},
};
constexpr Full kTitle[] = {
    {0xDF, "\x53\x73"}, {0x1C4, "\xC7\x85"}, {0x1C5, "\xC7\x85"},
    {0x1C6, "\xC7\x85"}, {0x1C7, "\xC7\x88"}, {0x1C8, "\xC7\x88"},
    {0x1C9, "\xC7\x88"}, {0x1CA, "\xC7\x8B"}, {0x1CB, "\xC7\x8B"},
    {0x1CC, "\xC7\x8B"}, {0x1F1, "\xC7\xB2"}, {0x1F2, "\xC7\xB2"},
    {0x1F3, "\xC7\xB2"}, {0x587, "\xD4\xB5\xD6\x82"}, {0x10D0, "\xE1\x83\x90"},
    {0x10D1, "\xE1\x83\x91"}, {0x10D2, "\xE1\x83\x92"}, {0x10D3, "\xE1\x83\x93"},
    {0x10D4, "\xE1\x83\x94"}, {0x10D5, "\xE1\x83\x95"}, {0x10D6, "\xE1\x83\x96"},
    {0x10D7, "\xE1\x83\x97"}, {0x10D8, "\xE1\x83\x98"}, {0x10D9, "\xE1\x83\x99"},
    {0x10DA, "\xE1\x83\x9A"}, {0x10DB, "\xE1\x83\x9B"}, {0x10DC, "\xE1\x83\x9C"},
    {0x10DD, "\xE1\x83\x9D"}, {0x10DE, "\xE1\x83\x9E"}, {0x10DF, "\xE1\x83\x9F"},
    {0x10E0, "\xE1\x83\xA0"}, {0x10E1, "\xE1\x83\xA1"}, {0x10E2, "\xE1\x83\xA2"},
    {0x10E3, "\xE1\x83\xA3"}, {0x10E4, "\xE1\x83\xA4"}, {0x10E5, "\xE1\x83\xA5"},
    {0x10E6, "\xE1\x83\xA6"}, {0x10E7, "\xE1\x83\xA7"}, {0x10E8, "\xE1\x83\xA8"},
    {0x10E9, "\xE1\x83\xA9"}, {0x10EA, "\xE1\x83\xAA"}, {0x10EB, "\xE1\x83\xAB"},
    {0x10EC, "\xE1\x83\xAC"}, {0x10ED, "\xE1\x83\xAD"}, {0x10EE, "\xE1\x83\xAE"},
    {0x10EF, "\xE1\x83\xAF"}, {0x10F0, "\xE1\x83\xB0"}, {0x10F1, "\xE1\x83\xB1"},
    {0x10F2, "\xE1\x83\xB2"}, {0x10F3, "\xE1\x83\xB3"}, {0x10F4, "\xE1\x83\xB4"},
    {0x10F5, "\xE1\x83\xB5"}, {0x10F6, "\xE1\x83\xB6"}, {0x10F7, "\xE1\x83\xB7"},
    {0x10F8, "\xE1\x83\xB8"}, {0x10F9, "\xE1\x83\xB9"}, {0x10FA, "\xE1\x83\xBA"},
    {0x10FD, "\xE1\x83\xBD"}, {0x10FE, "\xE1\x83\xBE"}, {0x10FF, "\xE1\x83\xBF"},
    {0x1F80, "\xE1\xBE\x88"}, {0x1F81, "\xE1\xBE\x89"}, {0x1F82, "\xE1\xBE\x8A"},
    {0x1F83, "\xE1\xBE\x8B"}, {0x1F84, "\xE1\xBE\x8C"}, {0x1F85, "\xE1\xBE\x8D"},
    {0x1F86, "\xE1\xBE\x8E"}, {0x1F87, "\xE1\xBE\x8F"}, {0x1F88, "\xE1\xBE\x88"},
    {0x1F89, "\xE1\xBE\x89"}, {0x1F8A, "\xE1\xBE\x8A"}, {0x1F8B, "\xE1\xBE\x8B"},
    {0x1F8C, "\xE1\xBE\x8C"}, {0x1F8D, "\xE1\xBE\x8D"}, {0x1F8E, "\xE1\xBE\x8E"},
    {0x1F8F, "\xE1\xBE\x8F"}, {0x1F90, "\xE1\xBE\x98"}, {0x1F91, "\xE1\xBE\x99"},
    {0x1F92, "\xE1\xBE\x9A"}, {0x1F93, "\xE1\xBE\x9B"}, {0x1F94, "\xE1\xBE\x9C"},
    {0x1F95, "\xE1\xBE\x9D"}, {0x1F96, "\xE1\xBE\x9E"}, {0x1F97, "\xE1\xBE\x9F"},
    {0x1F98, "\xE1\xBE\x98"}, {0x1F99, "\xE1\xBE\x99"}, {0x1F9A, "\xE1\xBE\x9A"},
    {0x1F9B, "\xE1\xBE\x9B"}, {0x1F9C, "\xE1\xBE\x9C"}, {0x1F9D, "\xE1\xBE\x9D"},
    {0x1F9E, "\xE1\xBE\x9E"}, {0x1F9F, "\xE1\xBE\x9F"}, {0x1FA0, "\xE1\xBE\xA8"},
    {0x1FA1, "\xE1\xBE\xA9"}, {0x1FA2, "\xE1\xBE\xAA"}, {0x1FA3, "\xE1\xBE\xAB"},
    {0x1FA4, "\xE1\xBE\xAC"}, {0x1FA5, "\xE1\xBE\xAD"}, {0x1FA6, "\xE1\xBE\xAE"},
    {0x1FA7, "\xE1\xBE\xAF"}, {0x1FA8, "\xE1\xBE\xA8"}, {0x1FA9, "\xE1\xBE\xA9"},
    {0x1FAA, "\xE1\xBE\xAA"}, {0x1FAB, "\xE1\xBE\xAB"}, {0x1FAC, "\xE1\xBE\xAC"},
    {0x1FAD, "\xE1\xBE\xAD"}, {0x1FAE, "\xE1\xBE\xAE"}, {0x1FAF, "\xE1\xBE\xAF"},
    {0x1FB2, "\xE1\xBE\xBA\xCD\x85"}, {0x1FB3, "\xE1\xBE\xBC"}, {0x1FB4, "\xCE\x86\xCD\x85"},
    {0x1FB7, "\xCE\x91\xCD\x82\xCD\x85"}, {0x1FBC, "\xE1\xBE\xBC"}, {0x1FC2, "\xE1\xBF\x8A\xCD\x85"},
    {0x1FC3, "\xE1\xBF\x8C"}, {0x1FC4, "\xCE\x89\xCD\x85"}, {0x1FC7, "\xCE\x97\xCD\x82\xCD\x85"},
    {0x1FCC, "\xE1\xBF\x8C"}, {0x1FF2, "\xE1\xBF\xBA\xCD\x85"}, {0x1FF3, "\xE1\xBF\xBC"},
    {0x1FF4, "\xCE\x8F\xCD\x85"}, {0x1FF7, "\xCE\xA9\xCD\x82\xCD\x85"}, {0x1FFC, "\xE1\xBF\xBC"},
    {0xFB00, "\x46\x66"}, {0xFB01, "\x46\x69"}, {0xFB02, "\x46\x6C"},
    {0xFB03, "\x46\x66\x69"}, {0xFB04, "\x46\x66\x6C"}, {0xFB05, "\x53\x74"},
    {0xFB06, "\x53\x74"}, {0xFB13, "\xD5\x84\xD5\xB6"}, {0xFB14, "\xD5\x84\xD5\xA5"},
    {0xFB15, "\xD5\x84\xD5\xAB"}, {0xFB16, "\xD5\x8E\xD5\xB6"}, {0xFB17, "\xD5\x84\xD5\xAD"},
};
// clang-format on

const Full* FindFull(absl::Span<const Full> table, uint32_t c) {
  const auto found = std::lower_bound(
      table.begin(), table.end(), c, [](const Full& full, uint32_t value) { return full.character < value; });
  return found == table.end() || found->character != c ? nullptr : &*found;
}

uint32_t Map(absl::Span<const Row> table, uint32_t c) {
  const auto row = std::lower_bound(table.begin(), table.end(), c,
                                    [](const Row& entry, uint32_t value) { return entry.last < value; });
  if (row == table.end() || c < row->first || (c - row->first) % row->stride != 0) return c;
  return c + static_cast<uint32_t>(row->change);
}

bool AppendAscii(std::string_view character, char first, std::string& out) {
  if (character.size() > 1) return false;
  const bool other_case = character[0] >= first && character[0] < first + 26;
  out += other_case ? static_cast<char>(character[0] ^ 0x20) : character[0];
  return true;
}

void AppendUpper(std::string_view character, std::string& out) {
  if (AppendAscii(character, 'a', out)) return;
  const uint32_t c = FirstCodePoint(character);
  const Full* full = FindFull(kFullUpper, c);
  full != nullptr ? static_cast<void>(out += full->mapped) : AppendUtf8(Map(kUpper, c), out);
}

void AppendLower(std::string_view character, std::string& out) {
  if (AppendAscii(character, 'A', out)) return;
  const uint32_t c = FirstCodePoint(character);
  const Full* full = FindFull(kFullLower, c);
  full != nullptr ? static_cast<void>(out += full->mapped) : AppendUtf8(Map(kLower, c), out);
}

void AppendTitle(std::string_view character, std::string& out) {
  const Full* full = FindFull(kTitle, FirstCodePoint(character));
  full != nullptr ? static_cast<void>(out += full->mapped) : AppendUpper(character, out);
}

}  // namespace

std::string ToUpper(std::string_view text) {
  std::string out;
  for (const std::string_view character : Characters(text)) AppendUpper(character, out);
  return out;
}

std::string ToLower(std::string_view text) {
  std::string out;
  for (const std::string_view character : Characters(text)) AppendLower(character, out);
  return out;
}

std::string Capitalize(std::string_view text) {
  if (text.empty()) return "";
  std::string out;
  const size_t first = FirstUtf8(text).bytes;
  AppendTitle(text.substr(0, first), out);
  return out + ToLower(text.substr(first));
}

}  // namespace ternion::jinja
