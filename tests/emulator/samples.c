/* Small real models, computed: a demo and a test want something that a viewer opens. */
#include <stdint.h>
#include <string.h>

#include "tests/emulator/seed.h"
#include "tests/emulator/smartshape.h"

#define GRID 64                         /* points along each side of the scan */
#define RINGS 24                        /* of 7.5 degrees, pole to pole */
#define SECTORS 48
#define STEP_COS 0.99144486137381041114
#define STEP_SIN 0.13052619222005159155

static const char readme[] =
    "Sample models of the polymount emulator, generated when it started.\n\n"
    "cube.obj, cube.mtl   a cube with one material (Wavefront, text)\n"
    "sphere.stl           a sphere (STL, binary)\n"
    "scan.ply             a coloured point cloud of a hill (PLY, text)\n";

static const char material[] =
    "newmtl blue\nKa 0.1 0.1 0.1\nKd 0.2 0.4 0.9\nKs 0.5 0.5 0.5\nNs 60\n";

static const char cube[] =
    "# a cube, 2 units wide\nmtllib cube.mtl\no cube\n"
    "v -1 -1 -1\nv 1 -1 -1\nv 1 1 -1\nv -1 1 -1\nv -1 -1 1\nv 1 -1 1\nv 1 1 1\nv -1 1 1\n"
    "usemtl blue\n"
    "f 1 4 3 2\nf 5 6 7 8\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\nf 4 1 5 8\n";

struct turn {
    double c;
    double s;
};

/* So many steps of 7.5 degrees, without libm. */
static struct turn turn_of(int steps)
{
    struct turn t = {1, 0};
    for (int i = 0; i < steps; i++)
        t = (struct turn){t.c * STEP_COS - t.s * STEP_SIN, t.s * STEP_COS + t.c * STEP_SIN};
    return t;
}

static void sphere_point(int ring, int sector, float out[3])
{
    struct turn polar = turn_of(ring);
    struct turn around = turn_of(sector);
    out[0] = (float)(10 * polar.s * around.c);
    out[1] = (float)(10 * polar.s * around.s);
    out[2] = (float)(10 * polar.c);
}

static void stl_facet(struct buf *out, float corners[3][3])
{
    float normal[3];
    uint16_t attributes = 0;
    for (int i = 0; i < 3; i++)         /* of a sphere: the direction of the facet's middle */
        normal[i] = (corners[0][i] + corners[1][i] + corners[2][i]) / 30;
    buf_add(out, normal, sizeof(normal));
    buf_add(out, corners, 9 * sizeof(float));
    buf_add(out, &attributes, sizeof(attributes));
}

static void make_sphere(struct buf *out)
{
    char header[80] = "sphere, radius 10";
    uint32_t count = (RINGS - 1) * SECTORS * 2;
    buf_add(out, header, sizeof(header));
    buf_add(out, &count, sizeof(count));
    for (int ring = 0; ring < RINGS; ring++)
        for (int sector = 0; sector < SECTORS; sector++) {
            float upper[3][3];
            float lower[3][3];
            sphere_point(ring, sector, upper[0]);
            sphere_point(ring + 1, sector, upper[1]);
            sphere_point(ring + 1, sector + 1, upper[2]);
            memcpy(lower[0], upper[0], sizeof(lower[0]));
            memcpy(lower[1], upper[2], sizeof(lower[1]));
            sphere_point(ring, sector + 1, lower[2]);
            if (ring < RINGS - 1)
                stl_facet(out, upper);
            if (ring > 0)
                stl_facet(out, lower);
        }
}

static void make_scan(struct buf *out)
{
    buf_printf(out,
               "ply\nformat ascii 1.0\ncomment a hill\nelement vertex %d\nproperty float x\n"
               "property float y\nproperty float z\nproperty uchar red\nproperty uchar green\n"
               "property uchar blue\nend_header\n",
               GRID * GRID);
    for (int i = 0; i < GRID * GRID; i++) {
        double x = (i % GRID - GRID / 2.0) / 2;
        double y = (double)i / GRID / 2 - GRID / 4.0;
        double height = 6 / (1 + (x * x + y * y) / 40) + 0.1 * (i * 7919 % 5);
        int shade = (int)(60 + 30 * height);
        shade = shade > 255 ? 255 : shade;
        buf_printf(out, "%.4f %.4f %.4f %d %d 60\n", x, y, height, shade, 255 - shade / 2);
    }
}

int samples_make(struct emulator *emu)
{
    struct buf sphere = {0};
    struct buf scan = {0};
    struct path folder = {0};
    struct node n;
    path_parse(&folder, "/Samples");
    bool there = tree_lookup(emu->tree, SMARTSHAPE, &folder, &n);
    path_free(&folder);
    if (there)                          /* since an earlier start */
        return 0;
    make_sphere(&sphere);
    make_scan(&scan);
    int r = seed_bytes(emu, "/Samples/cube.obj", cube, strlen(cube));
    if (r == 0)
        r = seed_bytes(emu, "/Samples/cube.mtl", material, strlen(material));
    if (r == 0)
        r = seed_bytes(emu, "/Samples/sphere.stl", sphere.data, sphere.len);
    if (r == 0)
        r = seed_bytes(emu, "/Samples/scan.ply", scan.data, scan.len);
    if (r == 0)
        r = seed_bytes(emu, "/Samples/README.txt", readme, strlen(readme));
    buf_free(&sphere);
    buf_free(&scan);
    return r;
}
