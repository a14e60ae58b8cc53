/* Pillow's resampling of 8-bit images, bit for bit, with the lanes of vectors side by side.

   Each axis is a weighted sum of neighbours: weights in double, rounded to 22 bits behind the
   point, summed in 32-bit integers, rounded and clipped to a byte. Only what is asked for of the
   resized image is computed, and only from the rows and columns that it needs.

   Down the columns whole rows are added up, whose bytes lie side by side as they are. Along the
   rows, LANES rows at a time are transposed, by rounds of interleaving that compilers turn into
   vector shuffles, and transposed back afterwards. There are no intrinsics: any compiler that
   vectorises loops will do.

   -ffp-contract=off is needed: fused multiply-adds would round the weights in another way. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16
#define STRIP 64
#define BITS 22

/* What is wanted: which filter, to which size, which part of that from (top, left) on. */
struct fit {
    int is_cubic, height, width, top, left;
    int is_down_first; /* columns before rows: the order shows in the rounding */
    int is_mirrored;
};

/* How one axis is resized: output i is the sum of `number[i]` inputs from `first[i]` on. */
struct axis {
    int count, most;
    int *first, *number;
    int32_t *weight; /* `most` for each output */
};

/* Rows of bytes: pixel x of row y starts at start + y * stride + x * channels. */
struct rows {
    uint8_t *start;
    ptrdiff_t stride;
};

static double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

static double bicubic(double x) {
    const double a = -0.5;
    if (x < 0.0) x = -x;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static void weigh(
    struct axis *axis, int i, double centre, double shrink, int is_cubic, double *share) {
    double total = 0.0;
    for (int t = 0; t < axis->number[i]; t++) {
        double x = (t + axis->first[i] - centre + 0.5) * shrink;
        share[t] = is_cubic ? bicubic(x) : box(x);
        total += share[t];
    }
    for (int t = 0; t < axis->number[i]; t++) {
        double fixed = (total != 0.0 ? share[t] / total : share[t]) * (1 << BITS);
        axis->weight[(ptrdiff_t)i * axis->most + t] =
            (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
}

/* Outputs `begin` ... `begin + count - 1` of `outputs` made from `inputs`. 0: out of memory. */
static int measure(struct axis *axis, int is_cubic, int inputs, int outputs, int begin, int count) {
    double scale = (double)inputs / outputs;
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = (is_cubic ? 2.0 : 0.5) * stretch;
    axis->count = count;
    axis->most = (int)ceil(support) * 2 + 1;
    axis->first = malloc(count * sizeof(int));
    axis->number = malloc(count * sizeof(int));
    axis->weight = malloc((size_t)count * axis->most * sizeof(int32_t));
    double *share = malloc(axis->most * sizeof(double));
    int is_whole = axis->first && axis->number && axis->weight && share;
    for (int i = 0; is_whole && i < count; i++) {
        double centre = (begin + i + 0.5) * scale;
        int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
        axis->first[i] = low < 0 ? 0 : low;
        axis->number[i] = (high > inputs ? inputs : high) - axis->first[i];
        weigh(axis, i, centre, 1.0 / stretch, is_cubic, share);
    }
    free(share);
    return is_whole;
}

static int end_of(const struct axis *axis) {
    return axis->first[axis->count - 1] + axis->number[axis->count - 1];
}

static inline uint8_t clip(int32_t sum) {
    sum >>= BITS;
    return sum < 0 ? 0 : sum > 255 ? 255 : sum;
}

/* `n` bytes, each the weighted sum of `number` that lie `step` apart. Inlined with a `number` that
   the compiler knows, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void add_few(
    const uint8_t *restrict in, ptrdiff_t step, const int32_t *weight, const int number,
    ptrdiff_t n, uint8_t *restrict out) {
    int32_t w[8];
    for (int t = 0; t < number; t++) w[t] = weight[t];
    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t sum = 1 << (BITS - 1);
        for (int t = 0; t < number; t++) sum += in[i + t * step] * w[t];
        out[i] = clip(sum);
    }
}

/* The same for any number. */
static void add_many(
    const uint8_t *restrict in, ptrdiff_t step, const int32_t *weight, int number, ptrdiff_t n,
    uint8_t *restrict out) {
    for (ptrdiff_t i = 0; i < n; i += STRIP) {
        int32_t sum[STRIP];
        int width = n - i < STRIP ? n - i : STRIP;
        for (int j = 0; j < width; j++) sum[j] = 1 << (BITS - 1);
        for (int t = 0; t < number; t++)
            for (int j = 0; j < width; j++) sum[j] += in[i + j + t * step] * weight[t];
        for (int j = 0; j < width; j++) out[i + j] = clip(sum[j]);
    }
}

static inline __attribute__((always_inline)) void add_up(
    const uint8_t *in, ptrdiff_t step, const int32_t *weight, int number, ptrdiff_t n,
    uint8_t *out) {
    switch (number) {
        case 1: add_few(in, step, weight, 1, n, out); break;
        case 2: add_few(in, step, weight, 2, n, out); break;
        case 3: add_few(in, step, weight, 3, n, out); break;
        case 4: add_few(in, step, weight, 4, n, out); break;
        case 5: add_few(in, step, weight, 5, n, out); break;
        case 6: add_few(in, step, weight, 6, n, out); break;
        case 7: add_few(in, step, weight, 7, n, out); break;
        case 8: add_few(in, step, weight, 8, n, out); break;
        default: add_many(in, step, weight, number, n, out);
    }
}

/* Row i of `out` from rows first[i] - y0 on of `in`; rows of `n` bytes. */
static void resample_down(
    const struct axis *down, struct rows in, int y0, struct rows out, ptrdiff_t n) {
    for (int i = 0; i < down->count; i++)
        add_up(in.start + (down->first[i] - y0) * in.stride, in.stride,
               down->weight + (ptrdiff_t)i * down->most, down->number[i], n,
               out.start + i * out.stride);
}

static void interleave(
    const uint8_t *restrict a, const uint8_t *restrict b, ptrdiff_t n, uint8_t *restrict out) {
    for (ptrdiff_t i = 0; i < n; i++) {
        out[2 * i] = a[i];
        out[2 * i + 1] = b[i];
    }
}

static void separate(
    const uint8_t *restrict in, ptrdiff_t n, uint8_t *restrict a, uint8_t *restrict b) {
    for (ptrdiff_t i = 0; i < n; i++) {
        a[i] = in[2 * i];
        b[i] = in[2 * i + 1];
    }
}

/* LANES rows of `n` bytes to `n` columns of LANES bytes, by way of `spare`, which is as large.
   Each round halves the number of rows; after four the 16 bytes of a column are neighbours. */
static void transpose(uint8_t *const *row, ptrdiff_t n, uint8_t *spare, uint8_t *out) {
    for (int i = 0; i < 8; i++) interleave(row[i], row[i + 8], n, spare + 2 * n * i);
    for (int i = 0; i < 4; i++)
        interleave(spare + 2 * n * i, spare + 2 * n * (i + 4), 2 * n, out + 4 * n * i);
    for (int i = 0; i < 2; i++)
        interleave(out + 4 * n * i, out + 4 * n * (i + 2), 4 * n, spare + 8 * n * i);
    interleave(spare, spare + 8 * n, 8 * n, out);
}

/* The way back; what was in `in` is lost. */
static void transpose_back(uint8_t *in, ptrdiff_t n, uint8_t *spare, uint8_t *const *row) {
    separate(in, 8 * n, spare, spare + 8 * n);
    for (int i = 0; i < 2; i++)
        separate(spare + 8 * n * i, 4 * n, in + 4 * n * i, in + 4 * n * (i + 2));
    for (int i = 0; i < 4; i++)
        separate(in + 4 * n * i, 2 * n, spare + 2 * n * i, spare + 2 * n * (i + 4));
    for (int i = 0; i < 8; i++) separate(spare + 2 * n * i, n, row[i], row[i + 8]);
}

/* Pixel i of each of `height` rows of `out` from pixels first[i] - x0 on of the same row of `in`,
   last pixel first where it is mirrored. `scratch` has room for 3 * LANES of the longer rows. */
static void resample_along(
    const struct axis *along, struct rows in, int x0, struct rows out, int height, int channels,
    int is_mirrored, uint8_t *scratch) {
    ptrdiff_t taken = (ptrdiff_t)(end_of(along) - x0) * channels;
    ptrdiff_t made = (ptrdiff_t)along->count * channels, pixel = channels * LANES;
    ptrdiff_t room = LANES * (taken > made ? taken : made);
    uint8_t *columns = scratch, *sums = scratch + room, *spare = scratch + 2 * room;
    for (int y = 0; y < height; y += LANES) {
        uint8_t *from[LANES], *to[LANES];
        for (int lane = 0; lane < LANES; lane++) { /* past the last row: read it again, keep none */
            int is_row = y + lane < height;
            from[lane] = in.start + (is_row ? y + lane : height - 1) * in.stride;
            to[lane] = is_row ? out.start + (y + lane) * out.stride : columns + lane * made;
        }
        transpose(from, taken, spare, columns);
        for (int i = 0; i < along->count; i++)
            add_up(columns + (along->first[i] - x0) * pixel, pixel,
                   along->weight + (ptrdiff_t)i * along->most, along->number[i], pixel,
                   sums + (is_mirrored ? along->count - 1 - i : i) * pixel);
        transpose_back(sums, made, spare, to);
    }
}

static int resample_both(
    const struct fit *fit, const struct axis *along, const struct axis *down, struct rows in,
    struct rows out, int channels) {
    int x0 = along->first[0], y0 = down->first[0], height = end_of(down) - y0;
    ptrdiff_t taken = (ptrdiff_t)(end_of(along) - x0) * channels;
    ptrdiff_t made = (ptrdiff_t)along->count * channels;
    ptrdiff_t turning = 3 * LANES * (taken > made ? taken : made);
    ptrdiff_t between_bytes = fit->is_down_first ? down->count * taken : height * made;
    uint8_t *scratch = malloc(turning + between_bytes);
    if (!scratch) return 0;
    struct rows between = {scratch + turning, fit->is_down_first ? taken : made};
    in.start += y0 * in.stride + (ptrdiff_t)x0 * channels;
    if (fit->is_down_first) {
        resample_down(down, in, y0, between, taken);
        resample_along(
            along, between, x0, out, down->count, channels, fit->is_mirrored, scratch);
    } else {
        resample_along(along, in, x0, between, height, channels, fit->is_mirrored, scratch);
        resample_down(down, between, y0, out, made);
    }
    free(scratch);
    return 1;
}

/* The `rows` x `columns` of the fit, from an image of height x width. 0: out of memory. */
int resample(
    const struct fit *fit, uint8_t *image, ptrdiff_t image_stride, int height, int width,
    int channels, uint8_t *target, ptrdiff_t target_stride, int rows, int columns) {
    struct axis along = {0}, down = {0};
    struct rows in = {image, image_stride}, out = {target, target_stride};
    int is_done = measure(&along, fit->is_cubic, width, fit->width, fit->left, columns)
        && measure(&down, fit->is_cubic, height, fit->height, fit->top, rows)
        && resample_both(fit, &along, &down, in, out, channels);
    free(along.first), free(along.number), free(along.weight);
    free(down.first), free(down.number), free(down.weight);
    return is_done;
}
