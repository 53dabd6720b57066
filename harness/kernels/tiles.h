/* TILE(row, column, tile_rows, tile_columns) for tiles of at most `places` places, or of TILE_ROWS x TILE_COLUMNS, that cover all places of
 * a layer's results. The sizes are constants wherever the layer's are, so that each of the at most four kinds of tile is code of its own. */
#include "vector.h"
#define HK_TILES(S, PLACES, TILE) HK_TILES_OF(S, hk_tile_rows((S).rows, (S).columns, PLACES), hk_tile_columns((S).columns, PLACES), TILE)
#define HK_TILES_OF(S, TILE_ROWS, TILE_COLUMNS, TILE)                                                                                   \
    {                                                                                                                                   \
        const int most_columns = TILE_COLUMNS, most_rows = TILE_ROWS;                                                                   \
        const int rest_columns = (S).columns % most_columns, rest_rows = (S).rows % most_rows;                                          \
        int row = 0;                                                                                                                    \
        for (; row + most_rows <= (S).rows; row += most_rows) {                                                                         \
            int column = 0;                                                                                                             \
            for (; column + most_columns <= (S).columns; column += most_columns) TILE(row, column, most_rows, most_columns);            \
            if (rest_columns) TILE(row, column, most_rows, rest_columns);                                                               \
        }                                                                                                                               \
        if (rest_rows) {                                                                                                                \
            int column = 0;                                                                                                             \
            for (; column + most_columns <= (S).columns; column += most_columns) TILE(row, column, rest_rows, most_columns);            \
            if (rest_columns) TILE(row, column, rest_rows, rest_columns);                                                               \
        }                                                                                                                               \
    }

/* HK_AT(block, outputs, row, column, tile_rows, tile_columns), which who uses this defines, for every tile of every block of `width` outputs,
 * the last of which may have fewer. Either the blocks of one tile follow each other, so that what it reads of x stays near, or the tiles
 * of one block, so that its weights do. */
#define HK_BLOCK_TILES(S, PLACES, WIDTH, BY_TILE) \
    HK_BLOCK_TILES_OF(S, hk_tile_rows((S).rows, (S).columns, PLACES), hk_tile_columns((S).columns, PLACES), WIDTH, BY_TILE)
#define HK_BLOCK_TILES_OF(S, TILE_ROWS, TILE_COLUMNS, WIDTH, BY_TILE)                                                                   \
    {                                                                                                                                   \
        const int width = WIDTH, whole = (S).outputs / width, rest = (S).outputs % width;                                               \
        if (BY_TILE) HK_TILES_OF(S, TILE_ROWS, TILE_COLUMNS, HK_ALL_BLOCKS)                                                             \
        else {                                                                                                                          \
            for (int block = 0; block < whole; block++) HK_TILES_OF(S, TILE_ROWS, TILE_COLUMNS, HK_WHOLE_BLOCK)                         \
            if (rest) HK_TILES_OF(S, TILE_ROWS, TILE_COLUMNS, HK_LAST_BLOCK)                                                            \
        }                                                                                                                               \
    }
#define HK_WHOLE_BLOCK(ROW, COLUMN, R, C) HK_AT(block, width, ROW, COLUMN, R, C)
#define HK_LAST_BLOCK(ROW, COLUMN, R, C) HK_AT(whole, rest, ROW, COLUMN, R, C)
#define HK_ALL_BLOCKS(ROW, COLUMN, R, C)                                                                                                \
    {                                                                                                                                   \
        for (int block = 0; block < whole; block++) HK_WHOLE_BLOCK(ROW, COLUMN, R, C);                                                  \
        if (rest) HK_LAST_BLOCK(ROW, COLUMN, R, C);                                                                                     \
    }

/* ENTRY(k, chain) for each of `count` entries, spread over `chains` of sums that follow each other. */
#define HK_IN_CHAINS(COUNT, CHAINS, ENTRY)                                            \
    {                                                                                 \
        int k = 0;                                                                    \
        if (CHAINS > 1)                                                               \
            for (; k + CHAINS <= COUNT; k += CHAINS) {                                \
                HK_UNROLL                                                             \
                for (int chain = 0; chain < CHAINS; chain++) ENTRY(k + chain, chain)  \
            }                                                                         \
        for (; k < COUNT; k++) ENTRY(k, 0)                                            \
    }
