/* Optimal brain surgery on the rows of a weight matrix (Frantar, Singh, Alistarh 2022, arXiv:2208.11580, alg. 1 to 3): weights are pinned one
 * after another, to zero or to a grid, and those left in the row make up for each, by the inverse H^-1 of the row's Hessian. Rows that lose the
 * same columns have the same H^-1 all the way: they are taken together, and their losses add up.
 *
 * H^-1 loses a row and a column with each weight: A' = A - u u^T, u = A[:,p] / sqrt(A[p][p]). Up to PENDING such u are kept aside and applied
 * together, in tiles that stay in registers, to the lower triangle of what is still there: a matrix of 85 MB is read once in PENDING steps. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef __AVX512F__
enum { LANES = 16, TILE_COLUMNS = 32 };
#else
enum { LANES = 16, TILE_COLUMNS = 16 };
#endif
enum { PENDING = 32, TILE_ROWS = 4 };

typedef struct {
    int columns, units, pending; /* still in the matrix; a unit is one or several neighbouring columns that leave together */
    int stride;                  /* floats from one row of a matrix to the next */
    int rows;                    /* that lose the same columns */
    int widest;                  /* columns of the widest unit */
    float *inverse;              /* [columns][stride] lower triangle, as of the last `settle` */
    float *aside;                /* [PENDING][stride] each u since then */
    float *weight;               /* [rows][stride] */
    float *block;                /* [units][widest][widest] each unit's part of the diagonal of H^-1, always up to date */
    float *key;                  /* [units] the least is next */
    float *bias;                 /* [units] 0; INFINITY: never again; -INFINITY: first of all */
    int *start;                  /* [units + 1] a unit's first column */
    int *name;                   /* [units] which unit of the row it was at first */
    int *origin;                 /* [columns] which column of the row it was at first */
    char *gone;                  /* [columns] pinned, and not yet taken out of the matrix */
} Row;

static void column(const Row *row, int p, float *u)
{
    const float *a = row->inverse;
    size_t stride = (size_t)row->stride;
    memcpy(u, a + p * stride, ((size_t)p + 1) * sizeof *u);
    for (int j = p + 1; j < row->columns; j++)
        u[j] = a[j * stride + p];
    for (int k = 0; k < row->pending; k++) {
        const float *v = row->aside + k * stride;
        float factor = v[p];
        for (int j = 0; j < row->columns; j++)
            u[j] -= factor * v[j];
    }
}

/* The lower triangle less all u u^T that are aside. Rows and columns are padded: a tile at the edge computes values that nobody reads. */
static void subtract_aside(Row *row)
{
    size_t stride = (size_t)row->stride;
    for (int i = 0; i < row->columns; i += TILE_ROWS)
        for (int j = 0; j < i + TILE_ROWS; j += TILE_COLUMNS) {
            float sum[TILE_ROWS][TILE_COLUMNS];
            for (int r = 0; r < TILE_ROWS; r++)
                memcpy(sum[r], row->inverse + (i + r) * stride + j, sizeof sum[r]);
            for (int k = 0; k < row->pending; k++) {
                const float *left = row->aside + k * stride + i, *right = row->aside + k * stride + j;
                for (int r = 0; r < TILE_ROWS; r++)
                    for (int c = 0; c < TILE_COLUMNS; c++)
                        sum[r][c] -= left[r] * right[c];
            }
            for (int r = 0; r < TILE_ROWS; r++)
                memcpy(row->inverse + (i + r) * stride + j, sum[r], sizeof sum[r]);
        }
}

/* Takes the pinned columns out of all arrays and applies what is aside. */
static void settle(Row *row)
{
    size_t stride = (size_t)row->stride, area = (size_t)row->widest * (size_t)row->widest;
    int columns = 0, units = 0;
    for (int unit = 0; unit < row->units; unit++) {
        int first = row->start[unit], last = row->start[unit + 1];
        if (row->gone[first])
            continue;
        row->start[units] = columns;
        row->name[units] = row->name[unit];
        row->bias[units] = row->bias[unit];
        memmove(row->block + units * area, row->block + unit * area, area * sizeof *row->block);
        units++;
        for (int from = first; from < last; from++, columns++) {
            for (int r = 0; r < row->rows; r++)
                row->weight[r * stride + columns] = row->weight[r * stride + from];
            row->origin[columns] = row->origin[from];
            for (int k = 0; k < row->pending; k++)
                row->aside[k * stride + columns] = row->aside[k * stride + from];
        }
    }
    row->start[units] = columns;
    int to = 0;
    for (int from = 0; from < row->columns; from++) {
        if (row->gone[from])
            continue;
        int left = 0;
        for (int j = 0; j <= from; j++)
            if (!row->gone[j])
                row->inverse[to * stride + left++] = row->inverse[from * stride + j];
        to++;
    }
    memset(row->gone, 0, (size_t)columns);
    row->columns = columns;
    row->units = units;
    subtract_aside(row);
    row->pending = 0;
}

/* Column p becomes `value` for good in each row, the others move. Gives the loss: half the growth of (w - v)^T H (w - v), of all rows. */
static float pin(Row *row, int p, float value)
{
    float *u = row->aside + (size_t)row->pending * (size_t)row->stride;
    column(row, p, u);
    float root = 1.0f / sqrtf(u[p]), loss = 0.0f;
    for (int j = 0; j < row->columns; j++)
        u[j] *= root;
    for (int r = 0; r < row->rows; r++) {
        float *weight = row->weight + (size_t)r * (size_t)row->stride, step = (weight[p] - value) * root;
        for (int j = 0; j < row->columns; j++)
            weight[j] -= step * u[j];
        weight[p] = value;
        loss += 0.5f * step * step;
    }
    if (row->widest == 1) {
        for (int j = 0; j < row->columns; j++)
            row->block[j] -= u[j] * u[j];
    } else {
        for (int unit = 0; unit < row->units; unit++) {
            const float *v = u + row->start[unit];
            float *block = row->block + (size_t)unit * (size_t)(row->widest * row->widest);
            int width = row->start[unit + 1] - row->start[unit];
            for (int i = 0; i < width; i++)
                for (int j = 0; j <= i; j++)
                    block[i * row->widest + j] -= v[i] * v[j];
        }
    }
    row->gone[p] = 1;
    row->pending++;
    return loss;
}

/* w^T B^-1 w of one unit, by the Cholesky factor of B; `factor` and `solved` are scratch. */
static float group_loss(const float *block, const float *w, int width, int widest, float *factor, float *solved)
{
    float sum = 0.0f;
    for (int i = 0; i < width; i++) {
        for (int j = 0; j <= i; j++) {
            float value = block[i * widest + j];
            for (int k = 0; k < j; k++)
                value -= factor[i * widest + k] * factor[j * widest + k];
            factor[i * widest + j] = i == j ? sqrtf(value) : value / factor[j * widest + j];
        }
        float value = w[i];
        for (int k = 0; k < i; k++)
            value -= factor[i * widest + k] * solved[k];
        solved[i] = value / factor[i * widest + i];
        sum += solved[i] * solved[i];
    }
    return sum;
}

/* The first of the least keys; -1 if none is below INFINITY, as when all are NaN. */
static int least(const float *key, int count)
{
    float best[LANES];
    int where[LANES], i = 0, found = -1;
    for (int lane = 0; lane < LANES; lane++) {
        best[lane] = INFINITY;
        where[lane] = -1;
    }
    for (; i + LANES <= count; i += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            int is_less = key[i + lane] < best[lane];
            best[lane] = is_less ? key[i + lane] : best[lane];
            where[lane] = is_less ? i + lane : where[lane];
        }
    for (int lane = 0; i < count; i++, lane++)
        if (key[i] < best[lane]) {
            best[lane] = key[i];
            where[lane] = i;
        }
    for (int lane = 0; lane < LANES; lane++)
        if (where[lane] >= 0 && (found < 0 || key[where[lane]] < key[found] || (key[where[lane]] == key[found] && where[lane] < found)))
            found = where[lane];
    return found;
}

static void release(Row *row)
{
    free(row->inverse), free(row->aside), free(row->weight), free(row->block), free(row->key), free(row->bias);
    free(row->start), free(row->name), free(row->origin), free(row->gone);
}

/* Room for rows of so many columns and units; 0 where memory is short. Zeroed once: padding is computed with, and must not be slow (denormals). */
static int reserve(Row *row, int rows, int columns, int units, int widest)
{
    size_t padded = (size_t)(columns + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
    memset(row, 0, sizeof *row);
    row->stride = (int)padded;
    row->widest = widest;
    row->inverse = calloc(padded * padded, sizeof(float));
    row->aside = calloc(PENDING * padded, sizeof(float));
    row->weight = calloc((size_t)rows * padded, sizeof(float));
    row->block = calloc((size_t)units * (size_t)(widest * widest), sizeof(float));
    row->key = calloc((size_t)units, sizeof(float));
    row->bias = calloc((size_t)units, sizeof(float));
    row->start = calloc((size_t)units + 1, sizeof(int));
    row->name = calloc((size_t)units, sizeof(int));
    row->origin = calloc(padded, sizeof(int));
    row->gone = calloc(padded, 1);
    if (row->inverse && row->aside && row->weight && row->block && row->key && row->bias && row->start && row->name && row->origin && row->gone)
        return 1;
    release(row);
    return 0;
}

static void begin(Row *row, int rows, const float *weight, const float *inverse, const int *start, int columns, int units)
{
    row->rows = rows;
    row->columns = columns;
    row->units = units;
    row->pending = 0;
    for (int r = 0; r < rows; r++)
        memcpy(row->weight + (size_t)r * (size_t)row->stride, weight + (size_t)r * (size_t)columns, (size_t)columns * sizeof *weight);
    memcpy(row->start, start, ((size_t)units + 1) * sizeof *start);
    memset(row->gone, 0, (size_t)columns);
    for (int i = 0; i < columns; i++) {
        memcpy(row->inverse + (size_t)i * (size_t)row->stride, inverse + (size_t)i * (size_t)columns, ((size_t)i + 1) * sizeof *inverse);
        row->origin[i] = i;
    }
    for (int unit = 0; unit < units; unit++) {
        row->name[unit] = unit;
        row->bias[unit] = 0.0f;
        for (int i = start[unit]; i < start[unit + 1]; i++)
            for (int j = start[unit]; j <= i; j++)
                row->block[((size_t)unit * (size_t)row->widest + (size_t)(i - start[unit])) * (size_t)row->widest + (size_t)(j - start[unit])] =
                    inverse[(size_t)i * (size_t)columns + (size_t)j];
    }
}

/* What it costs all rows that the unit leaves next: the loss, twice. `scratch` holds widest * (widest + 1) floats. */
static float unit_loss(const Row *row, int unit, float *scratch)
{
    int first = row->start[unit], width = row->start[unit + 1] - first, widest = row->widest;
    const float *block = row->block + (size_t)unit * (size_t)(widest * widest);
    float sum = 0.0f;
    for (int r = 0; r < row->rows; r++)
        sum += group_loss(block, row->weight + (size_t)r * (size_t)row->stride + first, width, widest, scratch, scratch + widest * widest);
    return sum;
}

/* Prunes rows unit by unit, `steps` of them, each `together` of neighbouring rows alike. group[unit] in 0 .. groups-1 loses at most limit[group]
 * units. Of each bundle of rows, order[bundles][steps]: which unit went at each step; loss[bundles][steps]: what that cost its rows.
 * 0: done; 1: no memory; 2: H^-1 is not positive definite. */
int prune_rows(int rows, int together, int columns, int units, int steps, int groups, const float *weight, const float *inverse, const int *start,
               const int *group, const int *limit, int *order, float *loss)
{
    int widest = 1, status = 0;
    for (int unit = 0; unit < units; unit++)
        widest = start[unit + 1] - start[unit] > widest ? start[unit + 1] - start[unit] : widest;
    Row row;
    if (!reserve(&row, together, columns, units, widest))
        return 1;
    int *left = malloc((size_t)groups * sizeof *left);
    float *scratch = malloc((size_t)(widest * widest + widest) * sizeof *scratch);
    status = left && scratch ? 0 : 1;
    for (int r = 0; r < rows && !status; r += together, order += steps, loss += steps) {
        begin(&row, together < rows - r ? together : rows - r, weight + (size_t)r * (size_t)columns, inverse, start, columns, units);
        memcpy(left, limit, (size_t)groups * sizeof *left);
        for (int step = 0; step < steps; step++) {
            if (widest == 1) {
                memset(row.key, 0, (size_t)row.units * sizeof *row.key);
                for (int k = 0; k < row.rows; k++)
                    for (int i = 0; i < row.units; i++)
                        row.key[i] += row.weight[k * row.stride + i] * row.weight[k * row.stride + i];
                for (int i = 0; i < row.units; i++)
                    row.key[i] = row.key[i] / row.block[i] + row.bias[i];
            } else
                for (int i = 0; i < row.units; i++)
                    row.key[i] = row.bias[i] > 0.0f ? INFINITY : unit_loss(&row, i, scratch);
            int next = least(row.key, row.units);
            if (next < 0) {
                status = 2;
                break;
            }
            order[step] = row.name[next];
            if (--left[group[row.name[next]]] == 0)
                for (int i = 0; i < row.units; i++)
                    if (group[row.name[i]] == group[row.name[next]])
                        row.bias[i] = INFINITY;
            row.bias[next] = INFINITY;
            if (row.pending + row.start[next + 1] - row.start[next] > PENDING) {
                int name = row.name[next];
                settle(&row);
                for (next = 0; row.name[next] != name;)
                    next++;
            }
            float sum = 0.0f;
            for (int p = row.start[next]; p < row.start[next + 1]; p++)
                sum += pin(&row, p, 0.0f);
            loss[step] = sum;
            if (row.pending == PENDING)
                settle(&row);
        }
    }
    free(left), free(scratch);
    release(&row);
    return status;
}

/* Puts each row, in place, on its grid scale[r] * (low[r] ... high[r]); weights that are zero are pinned first and stay zero. A weight that is off by
 * more than half a step, because the grid ends before it, goes before all others, the farthest first. */
int quantize_rows(int rows, int columns, float *weight, const float *inverse, const int *start, const float *scale, const float *low,
                  const float *high)
{
    Row row;
    int status = 0;
    if (!reserve(&row, 1, columns, columns, 1))
        return 1;
    for (int r = 0; r < rows && !status; r++) {
        float *out = weight + (size_t)r * (size_t)columns, step = scale[r], within = 0.5001f * step;
        begin(&row, 1, out, inverse, start, columns, columns);
        for (int i = 0; i < columns; i++)
            row.bias[i] = out[i] == 0.0f ? -INFINITY : 0.0f;
        for (int done = 0; done < columns; done++) {
            for (int i = 0; i < row.units; i++) {
                float code = rintf(row.weight[i] / step);
                code = code < low[r] ? low[r] : code > high[r] ? high[r] : code;
                float error = fabsf(code * step - row.weight[i]);
                row.key[i] = (error > within ? -error : error * error / row.block[i]) + row.bias[i];
            }
            int next = least(row.key, row.units);
            if (next < 0) {
                status = 2;
                break;
            }
            float code = rintf(row.weight[next] / step);
            code = code < low[r] ? low[r] : code > high[r] ? high[r] : code;
            out[row.origin[next]] = code * step;
            pin(&row, next, code * step);
            row.bias[next] = INFINITY;
            if (row.pending == PENDING)
                settle(&row);
        }
    }
    release(&row);
    return status;
}
