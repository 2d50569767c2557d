// Products of small matrices in registers: C += A B. Included inside the namespace of an instruction set, behind vector.h.

// Part of a row or of a column: from `begin` up to `end`.
struct Span {
  int64_t begin, end;
  bool empty() const { return begin >= end; }
};

// A(i, k) = data[i * row + k * step], for any i up to the next multiple of kTileRows.
struct Left {
  const float* data;
  int64_t row, step;
};

// B(k, j) = data[j / kPanel * panel + k * row + j % kPanel], for any j up to the next multiple of kFloats.
struct Right {
  const float* data;
  int64_t panel, row;
};

constexpr int kPanelVectors = THINNET_WIDE == 8 ? 4 : 2, kPanel = kPanelVectors * kFloats;
constexpr int64_t kDepth = 128;  // so many rows of a panel stay in the fastest cache

template <int kVectors>
void tile(const Left& a, const float* b, int64_t b_row, float* c, int64_t c_row, int64_t depth, bool add) {
  Vec sums[kTileRows][kVectors] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) right[j] = load(b + k * b_row + j * kFloats);
#pragma GCC unroll 6
    for (int i = 0; i < kTileRows; ++i) {
      const Vec left = broadcast(a.data[i * a.row + k * a.step]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sums[i][j] = fma(left, right[j], sums[i][j]);
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < kTileRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      float* const to = c + i * c_row + j * kFloats;
      store(to, add ? load(to) + sums[i][j] : sums[i][j]);
    }
}

inline void tile_of(int64_t vectors, const Left& a, const float* b, int64_t b_row, float* c, int64_t c_row, int64_t depth,
                    bool add) {
  switch (vectors) {
#if THINNET_WIDE == 8
    case 4: return tile<4>(a, b, b_row, c, c_row, depth, add);
    case 3: return tile<3>(a, b, b_row, c, c_row, depth, add);
#endif
    case 2: return tile<2>(a, b, b_row, c, c_row, depth, add);
    default: return tile<1>(a, b, b_row, c, c_row, depth, add);
  }
}

// Group i of kTileRows rows sums over `depth_of(i)` and needs the columns `columns_of(i)` alone.
template <class Spans, class OtherSpans>
void product(int64_t groups, int64_t columns, int64_t depth, const Left& a, const Right& b, float* c, int64_t c_row, bool add,
             const Spans& depth_of, const OtherSpans& columns_of) {
  for (int64_t first = 0; first < depth; first += kDepth) {
    for (int64_t column = 0; column < columns; column += kPanel) {
      const int64_t width = std::min<int64_t>(kPanel, padded(columns - column, kFloats));
      const float* panel = b.data + column / kPanel * b.panel;
      for (int64_t i = 0; i < groups; ++i) {
        const Span all = depth_of(i), needed = columns_of(i);
        const Span part{std::max(all.begin, first), std::min({all.end, first + kDepth, depth})};
        if (part.empty() || needed.begin >= column + width || needed.end <= column) continue;
        const Left rows{a.data + i * kTileRows * a.row + part.begin * a.step, a.row, a.step};
        tile_of(width / kFloats, rows, panel + part.begin * b.row, b.row, c + i * kTileRows * c_row + column, c_row,
                part.end - part.begin, add || first > 0);
      }
    }
  }
}
