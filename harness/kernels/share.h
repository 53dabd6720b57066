/* The share of a layer's work that one thread does. Tiles are the same for any number of threads, and so is each result. */
#ifndef HK_SHARE_H
#define HK_SHARE_H
#include "vector.h"

typedef struct {
    int index, count; /* share `index` of `count` equal ones */
} hk_share;

/* Of pieces 0 .. total - 1, a share's are hk_first .. hk_end - 1. */
HK_INLINE int hk_first(hk_share share, int total) { return (int)((int64_t)total * share.index / share.count); }
HK_INLINE int hk_end(hk_share share, int total) { return (int)((int64_t)total * (share.index + 1) / share.count); }

/* Counts through the pieces of a layer, of which some are one's own. */
typedef struct {
    int at, first, end;
} hk_turn;

HK_INLINE hk_turn hk_turns(hk_share share, int total) { return (hk_turn){0, hk_first(share, total), hk_end(share, total)}; }

HK_INLINE bool hk_is_mine(hk_turn *turn) {
    const int at = turn->at++;
    return at >= turn->first && at < turn->end;
}

/* How many tiles of rows x columns, or of at most `places` places, cover all places of a layer's results: HK_TILES of tiles.h. */
HK_INLINE int hk_tiles_of(hk_shape s, int rows, int columns) { return hk_parts(s.rows, rows) * hk_parts(s.columns, columns); }
HK_INLINE int hk_tiles(hk_shape s, int places) {
    return hk_tiles_of(s, hk_tile_rows(s.rows, s.columns, places), hk_tile_columns(s.columns, places));
}
#endif
